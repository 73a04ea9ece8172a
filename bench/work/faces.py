"""Video through the pipeline ``faceblur``: faces blurred, frames a second, and twice as many as it can do."""

import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, median
from typing import Final

from bench.durability.figure import Figure, data_folder
from bench.processes import Child
from bench.work.player import Played, play
from bench.work.running import service
from bench.work.video import FRAMES, difference, frames, missing, number_of

__all__ = ["add_options", "missing", "run"]

_STAGES: Final = ("decode", "detect", "blur", "encode")
_QUEUE: Final = 2
_INSIDE, _OUTSIDE = 12.0, 4.0
"""By which a pixel of a face differs at least, and one elsewhere at most (JPEG alone makes 1 to 2)."""
_FLAT: Final = (1.05, 8.0)
"""The growth of memory that counts as none: a factor, and MiB."""
_SHOWN: Final = 30
"""Seconds between two lines about the progress of the run at twice the capacity."""
_UNEVEN: Final = 1.5
"""By which the slowest of a hundred frames may be above what full queues take on average."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """Memory of the service and its processes while something runs, in MiB."""

    looks: list[float]

    @property
    def flat(self) -> bool:
        """Whether memory in the last quarter is at most what it was in the second."""
        second, last = self._quarters
        return last <= second * _FLAT[0] + _FLAT[1]

    @property
    def _quarters(self) -> tuple[float, float]:
        quarter = max(1, len(self.looks) // 4)
        return median(self.looks[quarter : 2 * quarter] or self.looks), median(self.looks[-quarter:])

    def __str__(self) -> str:
        second, last = self._quarters
        return f"{second:.0f} MiB, then {last:.0f}"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement of frames/s (default 15)")
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="at twice the capacity (default 2; the bar is 10)"
    )


def run(options: Namespace) -> Iterator[Figure]:
    """Measure with one worker and with two, then at twice the capacity; yield the figures."""
    video = frames()
    with data_folder() as folder:
        declared = folder / "faces.toml"
        declared.write_text(_declared("faces1", 1) + _declared("faces2", 2))
        with service(options.port, "--pipelines", str(declared)) as child:
            uri = f"ws://127.0.0.1:{options.port}/pipelines"
            one, two = (_capacity(f"{uri}/{name}", video, options.seconds) for name in ("faces1", "faces2"))
            yield _blurred(two)
            yield Figure(
                "faces: frames/s", f"640 x 480, {options.seconds:g} s each; all else with one worker",
                f"{two.rate:.1f}/s with two processes that find faces", f"{one.rate:.1f}/s with one", "", None,
            )  # fmt: skip
            yield _overloaded(child, uri, video, two.rate, options.minutes)


def _declared(name: str, workers: int) -> str:
    stages = "".join(
        f'[[pipelines.stages]]\nrun = "service.work.pipelines.faceblur:{stage}"\n'
        f"workers = {workers if stage == 'detect' else 1}\nqueue = {_QUEUE}\n"
        for stage in _STAGES
    )
    return f'[[pipelines]]\nname = "{name}"\n{stages}'


def _capacity(uri: str, video: list[bytes], seconds: float) -> Played:
    play(uri, video, 1e9, 2.0)  # the processes have started
    played = play(uri, video, 1e9, seconds)
    if wrong := _out_of_order(played):
        raise RuntimeError(f"faces: {wrong}")
    return played


def _out_of_order(played: Played) -> str:
    """Say which frame is not the one that should have come then; nothing where all are right."""
    for item, jpeg in played.sampled:
        if number_of(jpeg) != item % FRAMES:
            return f"frame {number_of(jpeg)} came in the place of {item % FRAMES}"
    return f"{played.failed} frames failed" if played.failed else ""


def _blurred(played: Played) -> Figure:
    differences = [difference(jpeg, item % FRAMES) for item, jpeg in played.sampled[:100]]
    inside, outside = (mean(column) for column in zip(*differences, strict=True))
    least, most = min(one[0] for one in differences), max(one[1] for one in differences)
    return Figure(
        "faces: blurred", f"a photograph with one face, {len(differences)} frames compared with what went in",
        f"a pixel differs by {inside:.1f} in the face (least {least:.1f}), by {outside:.1f} away from it "
        f"(most {most:.1f})", "", f"{_INSIDE:g} and {_OUTSIDE:g}", least >= _INSIDE and most <= _OUTSIDE,
    )  # fmt: skip


def _overloaded(child: Child, uri: str, video: list[bytes], rate: float, minutes: float) -> Figure:
    """Send twice as many frames as can be processed; those that come out have to be new, and nothing may grow."""
    looks: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(1.0):
            looks.append(child.resident() / 2**20)
            if len(looks) % _SHOWN == 0:
                print(f"  faces: {len(looks)} of {minutes * 60:.0f} s, {looks[-1]:.0f} MiB", file=sys.stderr)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        played = play(f"{uri}/faces2?full=drop_oldest", video, 2 * rate, minutes * 60)
    finally:
        ended.set()
        looking.join()
    memory, wrong = _Watched(looks), _out_of_order(played)
    places = sum(_QUEUE + (2 if stage == "detect" else 1) for stage in _STAGES)
    bound = places / played.rate * 1000 * _UNEVEN
    first, last = played.p99_ms
    held = not wrong and max(first, last) <= bound and last <= 1.2 * first + 20 and memory.flat
    return Figure(
        "faces: drop_oldest", f"{2 * rate:.0f} frames/s for {minutes:g} minutes, twice what it can do",
        f"{played.rate:.1f}/s came out, {played.dropped:,} of {played.sent:,} dropped; p99 {first:.0f} ms in the "
        f"first half, {last:.0f} in the second; {memory}; {wrong or 'all in order'}", "",
        f"p99 {bound:.0f} ms ({places} places at that rate, and half more), not growing; memory flat", held,
    )  # fmt: skip
