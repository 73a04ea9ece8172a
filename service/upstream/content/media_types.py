"""What a Content-Type says, read as browsers read it (the MIME Sniffing and Fetch standards)."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["LONGEST", "MediaType", "media_type"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"?'
_VALUES: Final = re.compile(rf'(?:[^,"]|{_QUOTED})+', re.DOTALL)
_PARAMETERS: Final = re.compile(rf";[ \t]*([^;=]*)(?:=(?:({_QUOTED})[^;]*|([^;]*)))?", re.DOTALL)
LONGEST: Final = 1000
"""Characters of a Content-Type that are read."""
_TEXTS: Final = frozenset(
    "application/" + name
    for name in (
        "json", "xml", "javascript", "ecmascript", "x-javascript", "x-www-form-urlencoded", "x-ndjson", "jsonl",
        "json-seq", "xml-dtd", "yaml", "x-yaml", "toml", "graphql", "sql", "rtf", "x-sh", "vnd.apple.mpegurl",
    )
)  # fmt: skip


class MediaType(NamedTuple):
    """A type without its parameters, in lower case and empty where there is none, and its ``charset``."""

    essence: str
    charset: str | None

    @property
    def html(self) -> bool:
        """Whether it is HTML in its own syntax."""
        return self.essence == "text/html"

    @property
    def xml(self) -> bool:
        """Whether it is XML."""
        return self.essence in ("text/xml", "application/xml") or self.essence.endswith("+xml")

    @property
    def json(self) -> bool:
        """Whether it is JSON."""
        return self.essence in ("application/json", "text/json") or self.essence.endswith("+json")

    @property
    def text(self) -> bool:
        """Whether it is text of any kind."""
        return self.essence.startswith("text/") or self.essence in _TEXTS or self.xml or self.json


def media_type(content_type: str | None) -> MediaType:
    """Return what a field value says; of several, in one line or in many, the last that is a type counts."""
    return _media_type(content_type[:LONGEST]) if content_type else MediaType("", None)


@lru_cache(maxsize=1024)
def _media_type(content_type: str) -> MediaType:
    found = MediaType("", None)
    for value in _VALUES.findall(content_type):
        one = _read(value)
        if not one.essence or one.essence == "*/*":
            # Without a type that can be read, the parameters are all there is to go by.
            found = found if found.essence else MediaType("", found.charset or one.charset)
        elif one.essence == found.essence:
            found = MediaType(one.essence, one.charset or found.charset)
        else:
            found = one
    return found


def _read(value: str) -> MediaType:
    written, semicolon, rest = value.strip(" \t\r\n").partition(";")
    kind, _, subtype = written.rstrip(" \t\r\n").partition("/")
    known = _TOKEN.fullmatch(kind) and _TOKEN.fullmatch(subtype)
    charset = None
    for name, quoted, plain in _PARAMETERS.findall(semicolon + rest):
        if name.strip(" \t").lower() == "charset" and charset is None:
            text = re.sub(r"\\(.)", r"\1", quoted[1:].removesuffix('"')) if quoted else plain
            # Single quotes are part of the value by the standards; browsers pass over them.
            charset = text.strip(" \t'") or None
    return MediaType(f"{kind}/{subtype}".lower() if known else "", charset)
