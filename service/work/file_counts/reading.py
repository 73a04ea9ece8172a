"""Reading what is counted: a whole stream, or the lines of a file that begin within a range of its bytes."""

import os
import select
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator

from service.work.counting import LONGEST_LINE
from service.work.file_counts.decoding import PIECE, Unreadable, decoded

__all__ = ["lines_in_range", "pieces_of", "stream", "without_lines"]


def pieces_of(descriptor: int, start: int, end: int | None, taken: Callable[[int], None]) -> Iterator[bytes]:
    """Yield what is counted of a file: lines that begin within a range, or all that it yields without an end.

    ``taken`` is called with how many bytes were read. Raises OSError and Unreadable.
    """
    if end is None:
        return stream(descriptor, taken)
    return lines_in_range(descriptor, start, end, taken)


def stream(descriptor: int, taken: Callable[[int], None]) -> Iterator[bytes]:
    """Yield all that can be read, without its compression."""

    def read() -> bytes:
        data = _read(descriptor)
        taken(len(data))
        return data

    return decoded(read)


def lines_in_range(
    descriptor: int, start: int, end: int, taken: Callable[[int], None] = lambda size: None
) -> Iterator[bytes]:
    """Yield the lines whose first byte is within a range of a file, the last one whole."""
    # The byte before says whether a line begins at the start.
    at, searching, last = max(start - 1, 0), start > 0, b"\n"
    if not start and os.pread(descriptor, len(BOM_UTF8), 0) == BOM_UTF8:
        at = len(BOM_UTF8)
    while at < end:
        data = os.pread(descriptor, min(PIECE, end - at), at)
        if not data:
            raise Unreadable("has become shorter while it was read")
        taken(len(data))
        at, last = at + len(data), data[-1:]
        if searching:
            found = data.find(b"\n") + 1
            searching, data = not found, data[found:] if found else b""
        yield data
    if not searching and last != b"\n":
        yield from _rest_of_line(descriptor, at)


def without_lines(pieces: Iterable[bytes], lines: int) -> Iterator[bytes]:
    """Yield what follows this many lines; b"" for each piece that is left out."""
    for data in pieces:
        if not lines:
            yield data
        elif (ends := data.count(b"\n")) < lines:
            lines -= ends
            yield b""
        else:
            yield data.split(b"\n", lines)[lines]
            lines = 0


def _rest_of_line(descriptor: int, at: int) -> Iterator[bytes]:
    """Yield the end of a line, or enough of one to see that it is too long."""
    held = 0
    while held <= LONGEST_LINE and (data := os.pread(descriptor, PIECE, at)):
        end = data.find(b"\n") + 1
        yield data[:end] if end else data
        if end:
            return
        at, held = at + len(data), held + len(data)


def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, PIECE)
        except BlockingIOError:
            # Another program made the pipe or terminal that we share not block.
            select.select([descriptor], [], [])
