"""The head of an answer: a status line and its fields, read as leniently as browsers and curl do.

Text is latin-1: every byte is one character, and goes back as the same byte (RFC 9110, section 5.5).
"""

import re
from http import HTTPStatus
from typing import Final

import msgspec

from service.upstream.http1.errors import ProtocolError

__all__ = ["LONGEST_HEAD", "LONGEST_LINE", "MOST_FIELDS", "Head", "end_of_head", "parse_head"]

LONGEST_LINE: Final = 100 << 10
LONGEST_HEAD: Final = 300 << 10
MOST_FIELDS: Final = 5000
"""The bounds of curl: what it accepts is accepted here, and a head costs 5 ms at most."""

_STATUS_LINE: Final = re.compile(r"HTTP/(\d)\.(\d)[ \t]+(\d{3})(?=[ \t]|$)", re.IGNORECASE | re.ASCII)
_USUAL: Final = {
    f"HTTP/1.{minor} {status} {status.phrase}": (int(status), minor) for status in HTTPStatus for minor in (0, 1)
}
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_MOST_NAMES: Final = 2000
_LONGEST_NAME: Final = 64
_FEW: Final = 100
"""Lines of a head up to which it is read as one that is well-formed, first; most have some twenty."""
_MOST_LINES: Final = 1000
_LONGEST_KNOWN: Final = 200


class _Names(dict[str, str]):
    """Names in lower case by the names as servers write them; one string, however many answers are kept.

    A name is checked and lowered once; nothing stands for what is not a name.
    """

    def __missing__(self, name: str) -> str:
        lower = name.lower() if _TOKEN.fullmatch(name) else ""
        if lower and len(name) <= _LONGEST_NAME and len(self) < _MOST_NAMES:
            self[name] = lower
        return lower


# These are known from the start.
_NAMES: Final = _Names({
    spelled: name
    for name in (
        "accept-ranges", "access-control-allow-origin", "age", "alt-svc", "cache-control", "cf-cache-status",
        "cf-ray", "connection", "content-encoding", "content-language", "content-length", "content-security-policy",
        "content-type", "date", "etag", "expires", "keep-alive", "last-modified", "link", "location", "nel",
        "referrer-policy", "report-to", "retry-after", "server", "server-timing", "set-cookie",
        "strict-transport-security", "transfer-encoding", "vary", "via", "x-cache", "x-content-type-options",
        "x-frame-options", "x-powered-by", "x-request-id", "x-served-by", "x-timer", "x-xss-protection",
    )
    for spelled in (name, name.title(), name.replace("etag", "ETag"))
})  # fmt: skip


class _Lines(dict[str, tuple[str, str]]):
    """Fields by their lines: a server sends most lines again with each answer, and one string serves all of them.

    The name is empty where a line is not plainly a name, a colon, a space and a value.
    """

    def __missing__(self, line: str) -> tuple[str, str]:
        name, colon, value = line.partition(": ")
        field = (_NAMES[name] if colon and line.isprintable() else "", value.strip(" "))
        if len(line) <= _LONGEST_KNOWN:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[line] = field
        return field


_LINES: Final = _Lines()


class Head(msgspec.Struct, gc=False):
    """A status, and the fields by lower-case names; the values of a repeated field are joined by commas."""

    status: int
    minor: int
    """Of the version: 0 for HTTP/1.0."""
    headers: dict[str, str]
    repeated: dict[str, list[str]]
    """The values of the fields that came more than once."""
    size: int
    """Characters, those of the status line and between fields included: names and values have no more."""


def end_of_head(data: bytes | bytearray, begin: int = 0) -> tuple[int, int] | None:
    """Return where the head ends and where what follows begins; a line may end with LF alone."""
    end = data.find(b"\n\r\n", begin)
    bare = data.find(b"\n\n", begin, end + 1 if end >= 0 else len(data))
    if bare >= 0:
        return bare, bare + 2
    return (end, end + 3) if end >= 0 else None


def parse_head(block: bytes | bytearray) -> Head:
    """Read a head without the empty line at its end; raise ProtocolError for what cannot be used."""
    if len(block) > LONGEST_HEAD:
        raise ProtocolError(f"the head of the answer is longer than {LONGEST_HEAD >> 10} KiB")
    text = block.decode("latin-1")
    lines = text.removesuffix("\r").split("\r\n")
    usual = _USUAL.get(lines[0])
    if usual is not None and len(lines) <= _FEW and len(text) <= LONGEST_LINE:
        fields = dict(map(_LINES.__getitem__, lines[1:]))
        if len(fields) == len(lines) - 1 and "" not in fields:
            return Head(*usual, fields, {}, len(text))
    return _odd_head(text)


def _odd_head(text: str) -> Head:
    """Read a head that has many fields, the same one twice, or lines that are not plainly fields."""
    if "\0" in text:
        raise ProtocolError("the head of the answer has a NUL byte")
    lines = _lines(text)
    status, minor = _status(lines.pop(0))
    return Head(status, minor, *_fields(lines), len(text))


def _status(line: str) -> tuple[int, int]:
    """Return the status, and the minor version."""
    found = _STATUS_LINE.match(line)
    if found is None:
        raise ProtocolError(f"the status line is malformed: {_shown(line)}")
    if found[1] != "1":
        raise ProtocolError(f"the answer is in HTTP/{found[1]}.{found[2]}, and the request was in HTTP/1.1")
    if found[3] < "100":
        raise ProtocolError(f"the status {found[3]} is below 100")
    return int(found[3]), int(found[2])


def _lines(text: str) -> list[str]:
    if "\n " in text or "\n\t" in text:
        # obs-fold (RFC 9112, section 5.2); before the first field it belongs to nothing, and goes.
        text = _FOLD.sub(" ", text)
    if text.count("\n") > MOST_FIELDS:
        raise ProtocolError(f"the answer has more than {MOST_FIELDS:,} header fields")
    lines = text.removesuffix("\r").split("\r\n")
    ends = len(lines) - 1
    if text.count("\n") != ends or text.count("\r") != ends + text.endswith("\r"):
        # Lines that end with LF alone, or a CR amid a line, which is as good as a space (RFC 9112, section 2.2).
        lines = [line.removesuffix("\r").replace("\r", " ") for line in text.split("\n")]
    if len(text) > LONGEST_LINE and max(map(len, lines)) > LONGEST_LINE:
        raise ProtocolError(f"a line in the head of the answer is longer than {LONGEST_LINE >> 10} KiB")
    return lines


def _fields(lines: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the fields, the values of one that comes more than once joined, and those values."""
    fields: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        lower = (colon and _NAMES[name]) or _name(name, line)
        if lower in fields:
            repeated.setdefault(lower, [fields[lower]]).append(value.strip(" \t"))
        elif lower:
            fields[lower] = value.strip(" \t")
    for name, values in repeated.items():
        fields[name] = ", ".join(values)
    return fields, repeated


def _name(name: str, line: str) -> str:
    """Return a field's name, or an empty one for a line without a colon, which is skipped as in browsers.

    Spaces before the colon are removed (RFC 9112, section 5.1). A malformed name keeps its other characters, so
    that it does not become the name of another field.
    """
    if _TOKEN.fullmatch(name):
        return name.lower()
    if len(name) == len(line):
        return ""
    return name.strip(" \t").translate(_ASCII_LOWER)


def _shown(line: str) -> str:
    return ascii(line if len(line) <= 60 else f"{line[:60]}...")
