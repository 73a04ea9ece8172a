"""The chunked transfer coding (RFC 9112, section 7.1), with a bound on everything that is not data."""

import re
from typing import Final, Literal

from service.upstream.http1.errors import ProtocolError

__all__ = ["Chunks"]

_LINE: Final = re.compile(rb"0*([0-9A-Fa-f]{0,15})[ \t]*(?:;[^\r\n\0]*)?")
_DIGIT: Final = frozenset(b"0123456789abcdefABCDEF")
_LONGEST_LINE: Final = 16 << 10
_TRAILERS: Final = 64 << 10
_SPARE: Final = 64 << 10
"""Bytes of sizes and extensions, beyond 16 for each chunk and one for each byte of data."""
_AT_ONCE: Final = 4096
"""Chunks that are read in one turn of the loop: 4 ms."""


class Chunks:
    """Takes the pieces off their frame."""

    __slots__ = ("_excess", "_held", "_left", "_state", "_trailers")

    def __init__(self) -> None:
        self._state: Literal["size", "data", "end of data", "trailers", "done"] = "size"
        self._held = b""
        self._left = 0
        self._excess = 0
        self._trailers = 0

    @property
    def done(self) -> bool:
        """Whether the last line has come."""
        return self._state == "done"

    @property
    def complete(self) -> bool:
        """Whether all data have come, which a chunk of no size says (RFC 9112, section 8)."""
        return self._state in ("trailers", "done")

    @property
    def rest(self) -> bytes:
        """What came after the end, or is still to be read where :meth:`feed` asks to be called again."""
        return self._held

    def feed(self, data: bytes, pieces: list[bytes]) -> bool:
        """Add the data of chunks to ``pieces``; return whether some bytes are left to be read in another turn."""
        if self._held:
            data, self._held = self._held + data, b""
        at, size = 0, len(data)
        for _ in range(_AT_ONCE):
            if self._state == "data":
                taken = data[at : at + self._left]
                # An empty piece would be taken for the end of the body.
                if taken:
                    pieces.append(taken)
                    at += len(taken)
                    self._left -= len(taken)
                if self._left == 0:
                    self._state = "end of data"
            if at == size or self._state == "done":
                break
            end = data.find(b"\n", at, at + _LONGEST_LINE)
            if end < 0:
                self._hold(data[at:])
                return False
            self._line(data[at:end].removesuffix(b"\r"), end - at)
            at = end + 1
        self._held = data[at:]
        return self._state != "done" and at < size

    def _hold(self, begin: bytes) -> None:
        """Keep the begin of a line, or refuse what no end of it can make right: the server may say nothing more."""
        if len(begin) >= _LONGEST_LINE:
            raise ProtocolError(f"a chunk's size or trailer is longer than {_LONGEST_LINE >> 10} KiB")
        if self._state == "end of data" and begin != b"\r":
            raise ProtocolError("a chunk is longer than its size says")
        if self._state == "size" and begin[0] not in _DIGIT:
            raise ProtocolError(f"a chunk's size is malformed: {begin[:24].decode('latin-1')!a}")
        self._held = begin

    def _line(self, line: bytes, length: int) -> None:
        if self._state == "end of data":
            if line:
                raise ProtocolError("a chunk is longer than its size says")
            self._state = "size"
        elif self._state == "size":
            self._begin(line, length)
        elif line:
            self._trailers += length
            if self._trailers > _TRAILERS:
                raise ProtocolError(f"the trailers are longer than {_TRAILERS >> 10} KiB")
        else:
            self._state = "done"

    def _begin(self, line: bytes, length: int) -> None:
        found = _LINE.fullmatch(line)
        if found is None or line[:1] in (b"", b" ", b"\t", b";"):
            raise ProtocolError(f"a chunk's size is malformed: {line[:24].decode('latin-1')!a}")
        self._left = int(found[1] or b"0", 16)
        self._excess = max(0, self._excess + length - 16 - self._left)
        if self._excess > _SPARE:
            raise ProtocolError(f"the sizes and extensions of chunks are {_SPARE >> 10} KiB longer than their data")
        self._state = "data" if self._left else "trailers"
