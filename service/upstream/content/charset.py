"""Which encoding a body is in, and its text: the one place that decides, for results, watches and selections.

A byte order mark wins, then HTTP's ``charset``, then what the document says itself: HTML within its first 1,024
bytes, as the HTML standard's prescan reads it, XML in its declaration, JSON by its first bytes. What says nothing
is UTF-8, or windows-1252 where more of it is not UTF-8 than is.
"""

import json
import re
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from service.upstream.content.encodings import decode, decode_in_steps, encoding_of
from service.upstream.content.media_types import LONGEST, media_type

__all__ = ["DecodedText", "Syntax", "read_in_steps", "read_text"]

Syntax = Literal["html", "xml", "json", "text"]
"""How a body says which encoding it is in."""

_FIRST: Final = frozenset((b"\xef", b"\xfe", b"\xff"))
"""What a byte order mark may begin with."""
_JSON_MARKS: Final = ((b"\xff\xfe\0\0", "utf-32le"), (b"\0\0\xfe\xff", "utf-32be"))
_BY_ZEROS: Final = {
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32-le": "utf-32le",
    "utf-32-be": "utf-32be",
}
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le"))
_PRESCAN: Final = 1024


class DecodedText(msgspec.Struct, frozen=True, gc=False):
    """A body as text, without its byte order mark."""

    encoding: str
    """By the names of the Encoding Standard in lower case; ``replacement`` where its text is refused."""
    text: str
    exact: bool
    """Whether every byte of it is a character: U+FFFD stands for what is not."""
    declared: bool
    """Whether a mark, HTTP or the document names the encoding."""


class _Plan(NamedTuple):
    """What a Content-Type decides, before the body is looked at."""

    text: bool
    syntax: Syntax
    named: str | None


@lru_cache(maxsize=1024)
def _plan(content_type: str | None) -> _Plan:
    kind = media_type(content_type)
    syntax: Syntax = "html" if kind.html else "xml" if kind.xml else "json" if kind.json else "text"
    return _Plan(kind.text, syntax, encoding_of(kind.charset))


def read_text(
    body: bytes, content_type: str | None, *, syntax: Syntax | None = None, cut: bool = False
) -> DecodedText:
    """Return the text of a body; ``cut`` says that it is the beginning of a longer one."""
    plan = _plan(content_type and content_type[:LONGEST])
    syntax = syntax or plan.syntax
    encoding, skip = _declaration(body, plan, syntax)
    if encoding == "replacement":
        return DecodedText(encoding, "\ufffd", False, True)
    rest = body[skip:] if skip else body
    if encoding is not None and encoding != "utf-8":
        return DecodedText(encoding, *decode(rest, encoding, cut=cut), True)
    try:
        # Nearly every body is without a fault, and needs no more than this.
        text, exact = rest.decode(), True
    except UnicodeDecodeError:
        text, exact = decode(rest, "utf-8", cut=cut)
    doubtful = encoding is None and not exact
    other = _other(plan, syntax, lambda: _is_mostly_bad(*_doubts(text))) if doubtful else None
    if other is not None:
        return DecodedText(other, *decode(body, other, cut=cut), syntax == "json")
    return DecodedText("utf-8", text, exact, encoding is not None or syntax == "json")


def read_in_steps(
    body: bytes, content_type: str | None, add: Callable[[str], object], *, step: int, cut: bool = False
) -> Generator[None, None, DecodedText]:
    """Do as :func:`read_text`, ``step`` bytes at a time: ``add`` gets the text, and the returned one is empty.

    An empty piece says that the whole text follows once more, in another encoding.
    """
    plan = _plan(content_type and content_type[:LONGEST])
    encoding, skip = _declaration(body, plan, plan.syntax)
    if encoding == "replacement":
        add("\ufffd")
        return DecodedText(encoding, "", False, True)
    exact, characters, bad = True, 0, 0
    for text, right in decode_in_steps(body, encoding or "utf-8", start=skip, step=step, cut=cut):
        exact = exact and right
        if encoding is None:
            characters, bad = map(sum, zip((characters, bad), _doubts(text), strict=True))
        if text:
            add(text)
        yield
    other = _other(plan, plan.syntax, lambda: _is_mostly_bad(characters, bad)) if not (exact or encoding) else None
    if other is not None:
        add("")
        exact = True
        for text, right in decode_in_steps(body, other, start=0, step=step, cut=cut):
            exact = exact and right
            if text:
                add(text)
            yield
    declared = encoding is not None or plan.syntax == "json"
    return DecodedText(encoding or other or "utf-8", "", exact, declared)


def _declaration(body: bytes, plan: _Plan, syntax: Syntax) -> tuple[str | None, int]:
    """Return which encoding is declared, and how many bytes of a mark come first."""
    marked = body[:1] in _FIRST or (syntax == "json" and 0 in body[:4])
    encoding, skip = _marked(body, syntax) if marked else (None, 0)
    if encoding is None and syntax != "json":
        encoding = plan.named
        if encoding is None and syntax != "text":
            encoding = _DECLARED[syntax](body[:_PRESCAN])
    return encoding, skip


def _other(plan: _Plan, syntax: Syntax, mostly_bad: Callable[[], bool]) -> str | None:
    """Return which encoding a body is in that is not UTF-8, though nothing declares one."""
    if syntax == "json":
        # It should be UTF-8 (RFC 8259, section 8.1); what HTTP says counts where it is not.
        return plan.named if plan.named not in ("replacement", "utf-8") else None
    return "windows-1252" if (plan.text or syntax != "text") and mostly_bad() else None


def _marked(body: bytes, syntax: Syntax) -> tuple[str | None, int]:
    """Return the encoding of a byte order mark, and its length; JSON shows by its zeros without one, too."""
    for mark, encoding in _JSON_MARKS + _MARKS if syntax == "json" else _MARKS:
        if body.startswith(mark):
            return encoding, len(mark)
    if syntax == "json" and 0 in body[:4]:
        return _BY_ZEROS.get(json.detect_encoding(body[:4])), 0
    return None, 0


def _doubts(text: str) -> tuple[int, int]:
    """Return how many characters are beyond ASCII, and how many of them are U+FFFD, which replaces bad bytes."""
    return (0, 0) if text.isascii() else (len(text) - len(text.encode("ascii", "ignore")), text.count("\ufffd"))


def _is_mostly_bad(characters: int, bad: int) -> bool:
    """Say whether fewer characters beyond ASCII are UTF-8 than are not: one bad byte makes no other encoding."""
    return characters < 2 * bad


_SPACE: Final = rb"\t\n\f\r "
_TAG: Final = re.compile(
    rb"<(?:(!--)|(meta)(?=[" + _SPACE + rb"/])|/?[a-z][^" + _SPACE + rb">]*|[!/?][^>]*>?)", re.IGNORECASE
)
_ATTRIBUTE: Final = re.compile(
    rb"[" + _SPACE + rb"/]*([^" + _SPACE + rb"/>][^" + _SPACE + rb"/>=]*)"
    rb"(?:[" + _SPACE + rb"]*=[" + _SPACE + rb"]*"
    rb"(?:\"([^\"]*)\"|'([^']*)'|([^" + _SPACE + rb">\"'][^" + _SPACE + rb">]*)|(?=>)))?"
)
_CLOSED: Final = re.compile(rb"[" + _SPACE + rb"/]*>")
_CONTENT: Final = re.compile(
    rb"charset[" + _SPACE + rb"]*=[" + _SPACE + rb"]*(?:\"([^\"]*)\"|'([^']*)'|([^" + _SPACE + rb";\"']*))"
)
_XML: Final = re.compile(rb"<\?xml[^>]*?encoding[\0- ]*=[\0- ]*(?:\"([^\">]*)\"|'([^'>]*)')")


def _html(head: bytes) -> str | None:
    """Return what the beginning of an HTML document says (HTML standard, "prescan a byte stream")."""
    at = 0 if b"charset" in head.lower() else len(head)
    while tag := _TAG.search(head, at):
        at = tag.end()
        if tag[1]:
            # A comment may be as short as <!-->.
            end = head.find(b"-->", tag.end() - 2)
            if end < 0:
                break
            at = end + 3
        elif tag[0][-1:] != b">":
            attributes, at = _attributes(head, at)
            if not _CLOSED.match(head, at):
                break  # what is cut may be another label: iso-8859-1 for iso-8859-15
            named = _meta(attributes) if tag[2] else None
            if named is not None:
                return named
    return _utf_16(head, b"<?x") or _declared(head)


def _attributes(head: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    found: dict[bytes, bytes] = {}
    while attribute := _ATTRIBUTE.match(head, at):
        found.setdefault(attribute[1].lower(), (attribute[2] or attribute[3] or attribute[4] or b"").lower())
        at = attribute.end()
    return found, at


def _meta(attributes: dict[bytes, bytes]) -> str | None:
    label = attributes.get(b"charset")
    if label is None and attributes.get(b"http-equiv") == b"content-type":
        content = _CONTENT.search(attributes.get(b"content", b""))
        label = content and (content[1] or content[2] or content[3])
    return _by_label(label) if label else None


def _xml(head: bytes) -> str | None:
    """Return what an XML document says: by the pattern of its first bytes, or in its declaration."""
    return _utf_16(head, b"<") or _declared(head.lstrip())


def _declared(head: bytes) -> str | None:
    declaration = _XML.match(head)
    return _by_label(declaration[1] or declaration[2] or b"") if declaration else None


def _utf_16(head: bytes, start: bytes) -> str | None:
    for encoding, codec in (("utf-16le", "utf-16-le"), ("utf-16be", "utf-16-be")):
        if head.startswith(start.decode().encode(codec)):
            return encoding
    return None


def _by_label(label: bytes) -> str | None:
    """Return an encoding that a document names; it was read as ASCII, so that it cannot be UTF-16."""
    named = encoding_of(label.decode("latin-1"))
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}.get(named or "", named)


_DECLARED: Final = {"html": _html, "xml": _xml}
