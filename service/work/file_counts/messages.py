"""What a process that counts is given, and what it reports: a datagram each, a file or a table beside it."""

import os
from array import array

import msgspec

from service.work.counting import Piece
from service.work.errands import pack, unpack

__all__ = ["END", "GO", "CountReport", "CountTask", "packed_table", "unpacked_table"]

GO = b"go on"
END = b"end"


class CountTask(msgspec.Struct, frozen=True):
    """A part of the file that comes with it; without an end, all that can be read of it."""

    start: int = 0
    end: int | None = None
    skip: int = 0
    """Lines at its beginning that are counted already."""
    report: bool = False
    """Whether the process reports its table after this part."""


class CountReport(msgspec.Struct, frozen=True):
    """How far a process is, with a table; it waits for an answer before it goes on."""

    read: int
    """Bytes since the last report."""
    head: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Of the table."""
    keys: int = 0
    """In the table."""
    counted: int | None = None
    """With a table: how many lines of the present task are in this table and in those before it."""
    ended: bool = False
    """Whether the task is over."""
    failed: str | None = None
    """Why not all of it was read."""


def packed_table(part: dict[bytes, int]) -> int:
    """Return the descriptor of a memory file with a table; no key has a line feed."""
    return pack([array("Q", part.values()).tobytes(), b"\n".join(part)])


def unpacked_table(report: CountReport, descriptor: int) -> Piece:
    """Return the table that came with a report, and close its descriptor."""
    if not report.keys:
        os.close(descriptor)
        return report.head, {}
    data = bytes(unpack(descriptor))
    counts = array("Q", data[: 8 * report.keys])
    return report.head, dict(zip(data[8 * report.keys :].split(b"\n"), counts, strict=True))
