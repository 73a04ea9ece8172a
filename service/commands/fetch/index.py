"""``index.ndjson``: which file holds what a URL gave. A file's line is written before the file gets its name.

So no file is there without its line; a line whose file is missing or has another size is of a run that was cut.
"""

import os
import threading
from collections.abc import Iterator
from time import time

import msgspec

from service.runtime.timestamps import timestamp

__all__ = ["INDEX", "Index", "Record"]

INDEX = "index.ndjson"
_CHUNK = 1 << 20


class Record(msgspec.Struct, frozen=True):
    """One line."""

    url: str
    file: str
    status: int
    type: str
    bytes: int
    sha256: str
    when: str
    """RFC 3339, in UTC."""


class Index:
    """The file, by the descriptor of it; lines are appended by several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._cut = False
        """Whether the file ends within a line."""

    def read(self) -> Iterator[Record]:
        """Yield every line that is one; others are passed over, like the last one of a run that was killed."""
        decoder = msgspec.json.Decoder(Record)
        rest, offset = b"", 0
        while chunk := os.pread(self._descriptor, _CHUNK, offset):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeError):
                    continue  # the URL counts as not fetched, and gets another line
        self._cut = bool(rest)

    def add(self, record: Record) -> None:
        """Append a line. Raises OSError."""
        line = self._encoder.encode(record) + b"\n"
        with self._lock:
            if self._cut:
                line = b"\n" + line
            self._cut = True
            written = os.write(self._descriptor, line)
            if written < len(line):
                # The disk is full: the error comes with the rest.
                written += os.write(self._descriptor, line[written:])
            self._cut = written < len(line)
            if self._cut:
                raise OSError("cannot write the index")

    def close(self) -> None:
        """Bring it to the disk, and close it."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def now() -> str:
    """Return the present time in the format of the index's lines."""
    return timestamp(time())
