"""``Cache-Control`` as the most careful reader of RFC 9111 reads it.

Upstreams send directives twice, quoted, misspelt, and in other case. Of two values the one that allows less
counts, and what cannot be read allows nothing (section 4.2.1): an answer may be asked for once too often, but
nothing old is taken for fresh, and nothing private is given away.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from service.upstream.caching.dates import delay_of, seconds_of

__all__ = ["CacheControl", "cache_control", "lifetime_of"]

LONGEST: Final = 1024
"""Characters that are read; nobody has more to say, and what has more is not stored."""
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_DIRECTIVE: Final = re.compile(rf'(?:[^,"]|{_QUOTED.pattern})+')
_SECONDS: Final = frozenset({"max-age", "s-maxage", "stale-if-error"})
_WORD: Final = re.compile(r"[a-z0-9_-]+")
_FORBIDS: Final = frozenset({"no-store", "no-cache", "private", "proxy-revalidate"})
_ALLOWS: Final = frozenset({"public", "must-revalidate"})
"""Directives that may allow what is forbidden without them."""
_NEVER: Final = frozenset({"no-store"})


@dataclass(frozen=True, slots=True)
class CacheControl:
    """Its directives that mean something to a shared cache."""

    flags: frozenset[str] = frozenset()
    max_age: float | None = None
    s_maxage: float | None = None
    stale_if_error: float = 0.0
    must_understand: bool = False

    def restated(self, lifetime: float | None) -> str:
        """Write them so that nobody can read them differently; ``lifetime`` stands for ``Expires`` too."""
        name = "max-age" if self.s_maxage is None else "s-maxage"
        lifetimes = [f"{name}={lifetime:.0f}"] if lifetime is not None else []
        return ", ".join([*sorted(self.flags), *lifetimes])


_SILENT: Final = CacheControl()


def cache_control(headers: Mapping[str, str]) -> CacheControl:
    """Return what the ``Cache-Control`` of an answer says; names of headers are in lower case."""
    text = headers.get("cache-control")
    if text is None:
        return _SILENT
    return _read(text) if len(text) <= LONGEST else CacheControl(_NEVER)


def lifetime_of(headers: Mapping[str, str], received: float) -> float | None:
    """Return for how many seconds an answer is fresh, or None where it does not say (section 4.2.1)."""
    said = cache_control(headers)
    if said.s_maxage is not None:
        return said.s_maxage
    if said.max_age is not None:
        return said.max_age
    if "expires" not in headers:
        return None
    expires, date = seconds_of(headers["expires"]), seconds_of(headers.get("date"))
    return max(0.0, expires - (received if date is None else date)) if expires is not None else 0.0


@lru_cache(maxsize=1024)
def _read(text: str) -> CacheControl:
    # Some upstreams separate directives by semicolons or spaces, and a directive with names of headers as its value
    # means those headers alone. So a word that forbids counts, no matter where it stands.
    text = text.lower()
    words = {*_WORD.findall(text)}
    flags = words & _FORBIDS | ({"proxy-revalidate"} if "must-revalidate" in words else set())
    seconds: dict[str, float] = {}
    if _DIRECTIVE.sub("", text).strip(","):
        # A quotation without an end: what follows it may be anything.
        return CacheControl(_NEVER)
    for part in _DIRECTIVE.findall(text):
        name, equals, value = part.strip(" \t").partition("=")
        for said in _SECONDS.intersection(_WORD.findall(_QUOTED.sub("", part))):
            # One that does not begin its part, such as one after a semicolon, counts as 0: it allows nothing.
            given = (delay_of(value) if name == said else None) or 0.0
            seconds[said] = min(given, seconds.get(said, given))
        if name.strip() in _ALLOWS and not equals:
            flags.add(name.strip())
    return CacheControl(
        frozenset(flags), seconds.get("max-age"), seconds.get("s-maxage"), seconds.get("stale-if-error", 0.0),
        "must-understand" in words,
    )  # fmt: skip
