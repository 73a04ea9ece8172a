"""The parts that a counting process has not reported yet: they are counted again if the process is killed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from service.work.file_counts.messages import CountReport, CountTask

__all__ = ["Part", "Unreported"]

_MOST: Final = 32
"""Parts that one process counts before it reports: at most this many are counted again."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is given at a time."""

    name: str
    """The name of the file."""
    task: CountTask
    descriptor: int
    """A descriptor of the file, which is open until the next part is asked for."""
    again: bool = False
    """Whether a process that had this part before has ended."""


class Unreported:
    """The parts of one process that are in none of its tables, in the order in which they were given."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        """Their descriptors are copies, which are closed when the parts are removed."""
        self.read = 0
        """Bytes that were read of them."""

    def __repr__(self) -> str:
        return f"<Unreported {len(self.parts)} parts, {self.read} bytes>"

    def add(self, part: Part) -> Part:
        """Add the part that is given next, and return it in the form in which to give it."""
        start = part.task.start if part.task.end is not None or part.again else _position(part.descriptor)
        full = len(self.parts) + 1 >= _MOST
        task = msgspec.structs.replace(part.task, start=start, report=full or part.again)
        given = replace(part, task=task, descriptor=os.dup(part.descriptor))
        self.parts.append(given)
        return given

    def reported(self, report: CountReport) -> None:
        """Record a report: lines that are in its table are not counted again."""
        self.read += report.read
        if report.counted is None or not self.parts:
            return
        self.read = 0
        last = self.parts.pop()
        self.close()
        if report.ended:
            os.close(last.descriptor)
        else:
            # The part is still under way, or has just been read to its end: then no lines are left.
            task = msgspec.structs.replace(last.task, skip=report.counted)
            self.parts.append(replace(last, task=task))

    @property
    def why_not(self) -> str:
        """Why the parts cannot be counted again; empty if they can."""
        if any(part.again for part in self.parts):
            return "this is the second process that had it"
        if any(part.task.start < 0 for part in self.parts):
            return "a pipe cannot be read again"
        return ""

    def again(self) -> Iterator[Part]:
        """Yield the parts to count again; each is closed when the next is asked for."""
        while self.parts:
            part = self.parts.pop(0)
            try:
                if part.task.end is None:
                    os.lseek(part.descriptor, part.task.start, os.SEEK_SET)
                yield replace(part, again=True)
            finally:
                os.close(part.descriptor)

    def close(self) -> None:
        """Close the files."""
        for part in self.parts:
            os.close(part.descriptor)
        self.parts.clear()


def _position(descriptor: int) -> int:
    """Return where the rest of a file begins, or -1 where it cannot be read twice."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:
        return -1
