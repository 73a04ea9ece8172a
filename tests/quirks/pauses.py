"""``python -m tests.quirks.pauses FILE serve ...``: the service, with a watch on what holds up its loop.

A thread looks every half millisecond where the loop's thread is, and adds up by place how often one callback ran for
over ``_LATE`` seconds, and how long. The time counts that the loop's thread has *run*: a machine that is busy with
something else makes nobody guilty. A turn of the loop is all callbacks that were ready. SIGUSR2 has all of it written
to FILE, with what is in memory, as JSON.
"""

import ctypes
import gc
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvloop

from service.__main__ import main

__all__: list[str] = []

_LATE: Final = 0.005
_TICK: Final = 0.001
_LOOK: Final = 0.0005
_SETTLED: Final = 3.0
"""Seconds after the start that do not count."""
_DEEP: Final = 6
"""Frames that name a place."""


@dataclass
class _Place:
    """Where the loop was held up: how often, and the CPU seconds of it."""

    times: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.times += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)


@dataclass
class _Watch:
    """What the loop's thread was seen doing while it did not come round."""

    thread: int
    cpu: int
    tick: float = 0.0
    """When the loop came round last, and what its thread had run by then."""
    ran: float = 0.0
    seen: list[tuple[int, str, float]] = field(default_factory=list)
    """Which callback ran, where it was, and what the thread had run by then."""
    places: defaultdict[str, _Place] = field(default_factory=lambda: defaultdict(_Place))
    turns: list[float] = field(default_factory=list)
    counts_from: float = field(default_factory=lambda: time.monotonic() + _SETTLED)
    collections: defaultdict[int, _Place] = field(default_factory=lambda: defaultdict(_Place))
    _began: float = 0.0

    def come_round(self) -> None:
        """Record that the loop turns; what was seen since the last time is to blame for its lateness."""
        now, ran = time.monotonic(), time.clock_gettime(self.cpu)
        if ran - self.ran > _LATE and now > self.counts_from:
            self.turns.append(ran - self.ran)
            self._blame(self.seen)
        self.seen = []
        self.tick, self.ran = now, ran

    def _blame(self, seen: list[tuple[int, str, float]]) -> None:
        before = self.ran
        for _, group in itertools.groupby(seen, lambda one: one[0]):
            looks = [*group]
            took, before = looks[-1][2] - before, looks[-1][2]
            if took > _LATE:
                place = Counter(place for _, place, _ in looks).most_common(1)[0][0]
                self.places[place].add(took)

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """Time the collector of cycles."""
        now = time.clock_gettime(self.cpu)
        if phase == "start":
            self._began = now
        else:
            self.collections[info["generation"]].add(now - self._began)

    def look(self) -> None:
        """Look at the loop's thread, again and again."""
        while True:
            time.sleep(_LOOK)
            frame = sys._current_frames().get(self.thread)
            if frame is not None and time.clock_gettime(self.cpu) - self.ran > _LOOK:
                self.seen.append((_callback(frame), _place(frame), time.clock_gettime(self.cpu)))

    def reported(self) -> dict[str, Any]:
        places = sorted(self.places.items(), key=lambda one: -one[1].total)
        return {
            "places": {name: [one.times, round(one.total, 4), round(one.longest, 4)] for name, one in places},
            "longest": [round(took, 4) for took in sorted(self.turns, reverse=True)[:20]],
            "turns": len(self.turns),
            "collections": {
                number: [one.times, round(one.total, 4), round(one.longest, 4)]
                for number, one in self.collections.items()
            },
        }


def _callback(frame: FrameType) -> int:
    """Return what tells one callback of the loop from another: its first frame."""
    at = frame
    while at.f_back is not None and at.f_back.f_code.co_name != "run":
        at = at.f_back
    return id(at)


def _place(frame: FrameType | None) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < _DEEP:
        code = frame.f_code
        lines.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(lines)


class _MallInfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
                     "keepcost")
    )  # fmt: skip


def _memory() -> dict[str, Any]:
    """Say what holds the memory: of malloc (used, free, mapped), of Python's own allocator, by type."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _MallInfo
    info = libc.mallinfo2()
    gc.collect()
    types = Counter(type(one).__name__ for one in gc.get_objects())
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "malloc": {name: getattr(info, name) for name, *_ in _MallInfo._fields_},
        "pymalloc": _pymalloc(),
        "types": types.most_common(40),
        "smaps": _smaps(),
        "large": _large(),
    }


def _large() -> dict[str, list[int]]:
    """Return how many bytes and texts of over 16 KiB are held by which type, and their bytes."""
    found: dict[str, list[int]] = {}
    seen: set[int] = set()
    for holder in gc.get_objects():
        for one in gc.get_referents(holder):
            if (
                isinstance(one, bytes | bytearray | str | memoryview)
                and id(one) not in seen
                and len(one) > 16 << 10
            ):
                seen.add(id(one))
                name = type(holder).__name__ + (
                    f" {holder.f_code.co_qualname}" if isinstance(holder, FrameType) else ""
                )
                total = found.setdefault(f"{type(one).__name__} of {name}", [0, 0])
                total[0] += 1
                total[1] += sys.getsizeof(one)
    return found


def _smaps() -> dict[str, int]:
    """Return resident KiB by kind of mapping."""
    kinds: Counter[str] = Counter()
    name = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = words[5] if len(words) > 5 else "anonymous"
            name = name if name.startswith("[") or name == "anonymous" else "files"
        elif words[0] == "Rss:":
            kinds[name] += int(words[1])
    return dict(kinds)


def _pymalloc() -> list[str]:
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return [line for line in file.read().decode().splitlines() if "arenas" in line or "bytes in" in line]


def _watched(out: Path) -> Any:
    """Return a maker of loops that are watched."""

    def make() -> Any:
        loop = uvloop.Loop()
        thread = threading.get_ident()
        watch = _Watch(thread, time.pthread_getcpuclockid(thread))

        def tick() -> None:
            watch.come_round()
            loop.call_later(_TICK, tick)

        def write() -> None:
            out.write_text(json.dumps({**watch.reported(), "memory": _memory()}, indent=1))

        sys.setswitchinterval(_LOOK / 2)
        watch.tick = time.monotonic()
        loop.call_soon(tick)
        loop.add_signal_handler(signal.SIGUSR2, write)
        gc.callbacks.append(watch.collected)
        threading.Thread(target=watch.look, daemon=True).start()
        return loop

    return make


if __name__ == "__main__":
    uvloop.new_event_loop = _watched(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
