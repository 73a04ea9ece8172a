"""Walks through the code: the hops that ARCHITECTURE.md lists, and the functions that a real run calls.

A walk *enters* every module of which a function runs for it, down to the smallest helper. It *passes* a module that
has it in hand: one whose code calls that of another module, or waits for it. What only answers a question of the
module that it passes (a check, a count, an encoder, a value) is entered, and not passed.

What is entered is the honest measure of how much a reader meets: at the commit that was reviewed (c68774d) it gives
the 15 modules of a publish, and 37 where the review listed 35 of a URL. Fewer are passed: 8 and 18 there.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Hop", "Walk", "hops", "stated", "walking"]

ROOT = Path(__file__).parent.parent
_SERVICE = str(ROOT / "service") + "/"
_HOP = re.compile(r"\| [0-9]+ \| `([a-z0-9_/]+\.py)` \(`(\w+)`\) \|")

_LENGTH = r"\n\| {}: modules entered \(passed\) \|.*\| ([0-9]+) \(([0-9]+)\) \| [0-9]+ \|\n"

_BACKGROUND = ("runtime/", "ops/")
"""Where work begins that the clock asks for, and no walk."""

_CONTAINMENT = ("core/containment.py", "runtime/containment.py")
"""What carries out a function for its caller, and contains its errors: what it calls has not been called back."""

Hop = tuple[str, str]
"""A file below ``service/``, and a function in it."""


def hops(heading: str) -> list[Hop]:
    """Return the hops of a section of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return _HOP.findall(section)


def stated(way: str) -> tuple[int, int]:
    """Return how many modules a way enters and passes now, as ARCHITECTURE.md says."""
    found = re.search(_LENGTH.format(way), (ROOT / "ARCHITECTURE.md").read_text())
    assert found, f"ARCHITECTURE.md does not say how long {way} is"
    return int(found[1]), int(found[2])


class Walk:
    """What one run called of the service's own functions."""

    def __init__(self) -> None:
        self.calls: list[Hop] = []
        """In their order."""
        self._callers: set[str] = set()
        self.back: set[tuple[str, ...]] = set()
        """Ways that led back to a file which waited for the answer: the files, from that one on."""

    @property
    def entered(self) -> set[str]:
        """Files whose code ran."""
        return {file for file, _ in self.calls}

    @property
    def passed(self) -> set[str]:
        """Files whose code ran, and called that of others."""
        return self.entered & self._callers

    def call(self, frame: FrameType, event: str, argument: object) -> None:
        """Take in an event of the profiler; the argument of RESUME is 0 where a function begins, and not goes on."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_SERVICE) or code.co_code[frame.f_lasti + 1] & 3:
            return
        if code.co_name.startswith("<"):  # a lambda, or a comprehension
            return
        way = _way(frame)
        if way[0].startswith(_BACKGROUND):
            return
        self.calls.append((way[-1], code.co_name))
        self._callers.update(way[:-1])
        decided = [file for file in way if file not in _CONTAINMENT]
        decided = [file for at, file in enumerate(decided) if decided[at - 1 : at] != [file]]
        if decided and decided[-1] in decided[:-1]:
            self.back.add(tuple(decided[decided.index(decided[-1]) :]))


def _way(frame: FrameType | None) -> list[str]:
    """Return the files that a call has come through, the outermost first."""
    way: list[str] = []
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_SERVICE) and (file := name.removeprefix(_SERVICE)) not in way[-1:]:
            way.append(file)
        frame = frame.f_back
    return way[::-1]


@contextmanager
def walking() -> Iterator[Walk]:
    """Yield the walk of the block."""
    walk = Walk()
    sys.setprofile(walk.call)
    try:
        yield walk
    finally:
        sys.setprofile(None)
