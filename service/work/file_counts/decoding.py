"""What a file is compressed with, by its first bytes, and what is in it.

It needs the standard library alone, and a package for zstd where a file is so.
"""

import codecs
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["HEAD", "PIECE", "Unreadable", "compressed", "decoded"]

HEAD: Final = 6
"""Bytes by which a format is known."""
PIECE: Final = 256 << 10
"""Bytes that are read, and made of what is read, at once: they and their lines fit the cache of a core."""
_SLICE: Final = 16 << 10
_GZIP: Final = b"\x1f\x8b"
_WINDOW: Final = 27
"""Of zstd, as a power of two: 128 MiB, what its own program takes at most without being asked."""
_OTHERS: Final = {
    b"BZh": ("compressed with bzip2", "bzcat"),
    b"\xfd7zXZ\0": ("compressed with xz", "xzcat"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "lz4cat"),
    b"PK\x03\x04": ("a zip archive", "unzip -p"),
    codecs.BOM_UTF16_LE: ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
    codecs.BOM_UTF16_BE: ("UTF-16", "iconv -f UTF-16 -t UTF-8"),
}
"""What would be counted as lines of nonsense, and what makes lines of it."""


class Unreadable(Exception):
    """Why a file cannot be read any further, or at all; the text follows its name."""

    def __init__(self, why: str, command: str = "") -> None:
        """Name a command that makes the file readable all the same."""
        super().__init__(f"{why}: {command}" if command else why)
        self.why = why


def compressed(head: bytes) -> bool:
    """Return whether a file that begins so is anything but lines."""
    return head.startswith((_GZIP, *_OTHERS)) or _zstd(head)


def decoded(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield what is in a file; ``read`` returns the next bytes of it, and none at its end. Raises Unreadable."""
    head = read()
    while len(head) < HEAD and (more := read()):
        head += more
    for begin, (name, program) in _OTHERS.items():
        if head.startswith(begin):
            raise Unreadable(f"is {name}, which cannot be counted", f"{program} FILE | sluice count - ...")
    if head.startswith(_GZIP):
        yield from _lines(_members(_slices(head, read), _Gzip))
    elif _zstd(head):
        yield from _lines(_members(_slices(head, read), _Zstd))
    else:
        yield head.removeprefix(codecs.BOM_UTF8)
        while data := read():
            yield data


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what was decompressed, if that is lines."""
    head = b""
    try:
        while len(head) < HEAD and (more := next(pieces, None)) is not None:
            head += more
    except Unreadable:
        yield head  # it is short and cut off, and its lines count
        raise
    if compressed(head):
        name = next((name for begin, (name, _) in _OTHERS.items() if head.startswith(begin)), "compressed twice")
        raise Unreadable(f"is {name} inside of its compression, which cannot be counted")
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def _zstd(head: bytes) -> bool:
    number = int.from_bytes(head[:4], "little")
    return number == 0xFD2FB528 or (len(head) >= 4 and number & 0xFFFFFFF0 == 0x184D2A50)


class _Gzip:
    """One member."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self.hungry = True
        """Whether it makes nothing without more data."""

    @property
    def ended(self) -> bool:
        """Whether all of it was made."""
        return self._inner.eof

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what the data make, and what is left of them; raises Unreadable."""
        try:
            made = self._inner.decompress(data, PIECE)
        except zlib.error as error:
            raise Unreadable(_damage(error)) from None
        self.hungry = len(made) < PIECE
        return made, self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail


class _Zstd:
    """One frame."""

    def __init__(self) -> None:
        try:
            if sys.version_info >= (3, 14):  # pragma: no cover
                from compression import zstd
            else:
                from backports import zstd
        except ImportError:
            raise Unreadable("is compressed with zstd, and the package backports.zstd is missing here") from None
        self._error = zstd.ZstdError
        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW})

    @property
    def hungry(self) -> bool:
        return self._inner.needs_input

    @property
    def ended(self) -> bool:
        return self._inner.eof

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            made = self._inner.decompress(data, PIECE)
        except self._error as error:
            raise Unreadable(_damage(error)) from None
        return made, self._inner.unused_data if self._inner.eof else b""


def _members(slices: Iterator[bytes], kind: "type[_Gzip | _Zstd]") -> Iterator[bytes]:
    """Yield what is in the members or frames of a file, one after the other; zeros may follow them, as on tapes."""
    member, whole = kind(), 0
    begun = False
    for data in slices:
        while data or (begun and not member.hungry):
            if whole and not begun and not (data := data.lstrip(b"\0")):
                break
            try:
                made, data = member.step(data)
            except Unreadable:
                if whole and not begun:
                    raise Unreadable("has something after its compressed data that is not compressed") from None
                raise
            yield made
            begun = not member.ended
            if member.ended:
                member, whole = kind(), whole + 1
    if begun:
        raise Unreadable("is cut off: the end of its compressed data is missing")


def _slices(data: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield these data and what follows in small slices: what is left after a member is copied for each."""
    while data:
        for at in range(0, len(data), _SLICE):
            yield data[at : at + _SLICE]
        data = read()


def _damage(error: Exception) -> str:
    return f"is damaged: {str(error).rpartition(': ')[2].removesuffix('.')}"
