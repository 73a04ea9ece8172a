"""Pictures made smaller: the step ``thumbnail`` beside two processes with Pillow, and beside a crowd."""

import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

from websockets.sync.client import connect

from bench.durability.figure import Figure, data_folder
from bench.upstream import PEERS, PORT, upstream
from bench.work.crowd import ROOM, Noticed, crowd
from bench.work.pictures import Pictures
from bench.work.running import ALL, Ran, batch, failures, service

__all__ = ["add_options", "run"]

_STEPS: Final = [{"step": "thumbnail", "width": 800, "height": 600}]
_BAR: Final = 0.9
_LAG_MS: Final = 20.0
_SLOWER: Final = 1.3
"""By which the p99 of a broadcast may be above that of an idle service."""
_ON_LOOP: Final = """
[[pipelines]]
name = "onloop"
[[pipelines.stages]]
run = "bench.work.on_loop:smaller"
place = "loop"
"""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pictures", type=int, default=1000, help="of 1600 x 1200 (default 1000)")
    parser.add_argument("--clients", type=int, default=5000, help="that get a broadcast each second (default 5000)")
    parser.add_argument(
        "--idle", type=float, default=40.0, help="seconds of the crowd alone, and beside the work (default 40)"
    )


def run(options: Namespace) -> Iterator[Figure]:
    """Measure beside the pool, then beside a crowd; yield the figures."""
    with upstream(ALL), data_folder() as folder:
        pictures = Pictures(options.pictures)
        try:
            yield _compared(options, pictures, folder)
            idle, beside = _with_crowd(options, pictures, folder)
            yield _figure("thumbnails: beside a crowd", options, idle, beside, "the steps in processes")
            idle, on_loop = _on_loop(options, pictures, folder)
            yield _figure("thumbnails: on the loop", options, idle, on_loop, "the same on the loop, to show why")
        finally:
            pictures.remove()


def _compared(options: Namespace, pictures: Pictures, folder: Path) -> Figure:
    ours, pool, spent = [], [], ""
    for number in range(options.rounds):
        with service(options.port, "--blobs", str(folder / "blobs")):
            batch(options.port, pictures.urls(PORT)[:8], _STEPS)  # the processes have started
            ran = _made(options.port, pictures)
        shutil.rmtree(folder / "blobs")
        ours.append(ran.seconds)
        spent = ", ".join(f"{place} {ms / 1000:.1f} s" for place, ms in ran.time_ms.items())
        pool.append(_pool(pictures, folder / "small"))
        print(f"  thumbnails: round {number + 1}, {ours[-1]:.2f} and {pool[-1]:.2f} s", file=sys.stderr)
    ratio, count = median(its / own for own, its in zip(ours, pool, strict=True)), len(pictures.names)
    return Figure(
        "thumbnails: 800 x 600", f"{count:,} pictures of 1600 x 1200, fetched and kept; `time_ms`: {spent}",
        f"{median(ours):.2f} s, {count / median(ours):.1f}/s",
        f"`Pool(2).imap_unordered` over local files: {median(pool):.2f} s; {ratio:.2f} x", f"{_BAR:g} x",
        ratio >= _BAR,
    )  # fmt: skip


def _made(port: int, pictures: Pictures) -> Ran:
    ran = batch(port, pictures.urls(PORT), _STEPS)
    wrong = failures(ran, lambda event: (event["steps"][0]["width"], event["steps"][0]["height"]) == (800, 600))
    if wrong:
        raise RuntimeError(f"thumbnails: {wrong}")
    return ran


def _pool(pictures: Pictures, out: Path) -> float:
    argv = ["taskset", "-c", ALL, sys.executable, str(PEERS / "thumbnail_pool.py"), str(pictures.folder), str(out)]
    try:
        return float(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _with_crowd(options: Namespace, pictures: Pictures, folder: Path) -> tuple[Noticed, Noticed]:
    """Return what a crowd notices of an idle service, and of one that makes thumbnails."""

    def work(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _made(options.port, pictures)

    with service(options.port, *ROOM, "--blobs", str(folder / "blobs")):
        batch(options.port, pictures.urls(PORT)[:8], _STEPS)
        return _noticed(options, work)


def _on_loop(options: Namespace, pictures: Pictures, folder: Path) -> tuple[Noticed, Noticed]:
    """Return the same, of one that makes them on its loop."""
    declared = folder / "onloop.toml"
    declared.write_text(_ON_LOOP)
    bodies = [path.read_bytes() for path in pictures.paths[:20]]

    def work(seconds: float) -> None:
        end = time.monotonic() + seconds
        uri = f"ws://127.0.0.1:{options.port}/pipelines/onloop"
        with connect(uri, compression=None, ping_interval=None, max_size=None) as socket:
            while time.monotonic() < end:
                for body in bodies:
                    socket.send(body)
                for _ in bodies:
                    if not isinstance(socket.recv(60), bytes):
                        raise RuntimeError("onloop: a picture has failed")

    with service(options.port, *ROOM, "--pipelines", str(declared)):
        return _noticed(options, work)


def _noticed(options: Namespace, work: Callable[[float], None]) -> tuple[Noticed, Noticed]:
    with crowd(options.port, options.clients) as them:
        them.begin()
        time.sleep(options.idle)
        idle = them.noticed()
        them.begin()
        work(options.idle)
        return idle, them.noticed()


def _figure(name: str, options: Namespace, idle: Noticed, beside: Noticed, what: str) -> Figure:
    ratio = beside.p99 / idle.p99
    held = beside.lag_p99 < _LAG_MS and ratio <= _SLOWER
    return Figure(
        name, f"{what}; {options.clients:,} clients get a broadcast each second", f"{beside}; {ratio:.2f} x",
        f"idle: {idle}", f"{_SLOWER:g} x, lag {_LAG_MS:g} ms", None if "loop" in name else held,
    )  # fmt: skip
