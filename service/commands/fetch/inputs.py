"""The URLs of a run: lists as people's files are, with every URL's line, and each fetched once.

A line is kept as it was written. Bytes that are not UTF-8 are percent-encoded one by one, so that a URL in an
old encoding asks for exactly the bytes that the file has.
"""

import codecs
import os
import re
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain

from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Target, check_url

__all__ = ["UrlList", "read_lines"]

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 16
"""Bytes; the rest of a longer line is dropped. No URL is that long."""

_MARGIN = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff\u200b\u2060\x1a"
"""What is stripped around a URL: white space, byte order marks of joined files, and the DOS end of file."""

# Most URLs: nothing in them can be spelled in another way, which is ten times as fast to see as to parse them.
_CANONICAL = re.compile(
    r"https?://[a-z0-9-]+(?:\.[a-z0-9-]*[a-z-][a-z0-9-]*)+/(?:[\w~/?=&+,;@:!$'()*-]|(?<=\w)\.(?=\w))*", re.ASCII
)

# The marks of UTF-32 begin like those of UTF-16, so they come first. Without a mark, the zero bytes of the first
# character tell.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UrlList:
    """All URLs of a run in order; a million of 70 characters take about 215 MB."""

    def __init__(self, source: str = "", policy: Policy | None = None) -> None:
        self._policy = policy or Policy()
        self.source = source
        """The file that they come from, as it is shown."""
        self.urls: list[str] = []
        self._lines = array("I")
        self._first: dict[str, int] = {}
        # For each URL the next one that is the same, and for the first of them the last; 0 means none.
        self._next = array("I")
        self._last = array("I")

    def __len__(self) -> int:
        return len(self.urls)

    def add(self, url: str, line: int = 0) -> None:
        """Take in a URL; ``line`` 0 is for one that comes from the command line."""
        index = len(self.urls)
        first = self._first.setdefault(self._sent(url), index)
        if first != index:
            if self.urls[first] == url:
                url = self.urls[first]
            self._next[self._last[first]] = index
            self._last[first] = index
        self.urls.append(url)
        self._lines.append(line)
        self._next.append(0)
        self._last.append(index)

    def find(self, url: str) -> int | None:
        """Return the index of the first URL that asks for the same."""
        return self._first.get(self._sent(url))

    def firsts(self) -> Iterable[int]:
        """Return the indices of all that have to be fetched, in order."""
        return self._first.values()

    def same(self, first: int) -> Iterator[int]:
        """Yield this index, and those of all that ask for the same."""
        yield first
        while first := self._next[first]:
            yield first

    def _sent(self, url: str) -> str:
        """Return what is asked for: URLs that differ in their fragment or spelling alone are fetched once."""
        if _CANONICAL.fullmatch(url):
            return url
        target = check_url(url, self._policy)
        return target.url if isinstance(target, Target) else url

    def line(self, index: int) -> int | None:
        """Return the line that a URL stands in, or None."""
        return self._lines[index] or None

    def place(self, index: int) -> str:
        """Return where a URL comes from, to be shown before it."""
        line = self.line(index)
        return f"{self.source}:{line}: " if line else ""


def read_lines(urls: UrlList, chunks: Iterable[bytes]) -> None:
    """Add the URLs of a file: one a line; blank lines and those that begin with # are passed over."""
    for number, line in enumerate(_lines(_as_utf8(chunks)), 1):
        url = _text(line)
        if url and not url.startswith("#"):
            urls.add(url, number)


def from_argument(text: str) -> str:
    """Return a URL of the command line."""
    return _text(os.fsencode(text))


def from_file(urls: UrlList, name: str) -> None:
    """Add the URLs of a file, or of standard input for ``-``. Raises OSError."""
    if name == "-":
        read_lines(urls, iter(lambda: os.read(sys.stdin.fileno(), _CHUNK), b""))
        return
    with open(name, "rb", buffering=0) as file:
        read_lines(urls, iter(lambda: file.read(_CHUNK), b""))


def _text(line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in line)
    return text.strip(_MARGIN)


def _as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= 4:
            break
    codec, mark = _encoding(head)
    if codec == "utf-8":
        yield head[mark:]
        yield from rest
        return
    decoder = codecs.getincrementaldecoder(codec)("replace")
    for chunk in chain([head[mark:]], rest):
        # What is not text must not be asked for as something else: a zero makes its URL invalid.
        yield decoder.decode(chunk).replace("\ufffd", "\x00").encode()
    yield decoder.decode(b"", True).replace("\ufffd", "\x00").encode()


def _encoding(head: bytes) -> tuple[str, int]:
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec, len(mark)
    if head[1:2] == b"\x00" != head[:1]:
        return "utf-16-le", 0
    if head[:1] == b"\x00" != head[1:2]:
        return "utf-16-be", 0
    return "utf-8", 0


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split at LF, CRLF and CR, and nowhere else."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).splitlines(keepends=True)
        # The last one may go on in the next chunk, and the LF of a CR may begin it.
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if len(rest) > _LONGEST_LINE and not rest.endswith(b"\r"):
            rest = rest[:_LONGEST_LINE]
        yield from lines
    if rest:
        yield rest
