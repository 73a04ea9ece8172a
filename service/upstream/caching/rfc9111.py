"""What RFC 9111 says of a request and an answer, by hishel, and what is kept of both for that.

The decisions are hishel's: what may be stored, whether it is fresh, how it is validated and updated. Four
things go beyond: directives and dates are read by us and restated for it (``cache_control.py``); an ``Age`` and a
missing or future ``Date`` count (section 4.2.3), on a monotonic clock; an answer that its upstream has not dated is
never fresh, though it may be validated; answers to requests with headers of a client are kept apart, since an
upstream may show any of them. Errors that such headers may have caused, and answers that set cookies, are not kept.
"""

from collections.abc import Mapping, Sequence
from email.utils import formatdate
from time import time
from typing import Final
from uuid import UUID

import msgspec
from hishel import CacheMiss, Entry, Headers, Request, Response, StoreAndUse

from service.core.owner import Owner
from service.upstream.caching.cache_control import cache_control, lifetime_of
from service.upstream.caching.dates import delay_of, seconds_of

__all__ = [
    "CacheKey",
    "StoredResponse",
    "blamed",
    "cache_key",
    "entries_of",
    "replaces",
    "request_of",
    "shareable",
    "storable",
]

# A request with one of these speaks with the upstream directly.
_OWN_WAY: Final = frozenset(
    ("cache-control", "pragma", "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
     "if-range")
)  # fmt: skip
_STORABLE: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses of which a plain answer may be stored (RFC 9110, section 15.1)."""
_MISSING: Final = frozenset({404, 410})
_PARTIAL: Final = frozenset({206, 304})
# What no other request may be answered with, or not before the upstream was asked for it (section 5.2.2).
_OWN: Final = frozenset({"no-store", "private", "no-cache"})
# What lets an answer to a request with Authorization be shared (section 3.5).
_SHARED: Final = frozenset({"public", "must-revalidate"})
_HOP: Final = frozenset(
    ("connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection", "proxy-authenticate",
     "proxy-authentication-info", "proxy-authorization")
)  # fmt: skip

CacheKey = tuple[str, str, tuple[tuple[str, str], ...], str]
"""Method, URL, headers of the client, and who shares nothing with others."""


class StoredResponse(msgspec.Struct, eq=False, gc=False):
    """An answer that may be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    asked: Mapping[str, str]
    """The headers of the request that brought it."""
    owner: Owner
    """Whose request that was."""
    received: float
    """On the cache's clock."""
    came: float
    """The same moment in seconds of the Unix epoch, which dates of upstreams are compared with."""
    size: int
    fresh_in: int = -1
    """The second of the clock in which it was found fresh last; freshness is counted in whole seconds."""
    fresh_for: Mapping[str, str] | None = None
    _dated: float | None = None

    @property
    def dated(self) -> float:
        """When it was as good as new (RFC 9111, section 4.2.3): its Age and its way here are taken off.

        Most of what is stored is never asked for again: this is found out when it is.
        """
        if self._dated is None:
            date = seconds_of(self.headers.get("date"))
            apparent = max(0.0, self.came - date) if date is not None else 0.0
            # Of several the first counts (section 5.1).
            age = delay_of(self.headers.get("age", "").partition(",")[0].strip()) or 0.0
            self._dated = self.received - max(apparent, age)
        return self._dated

    def aged(self, now: float) -> dict[str, str]:
        """Return its headers with its ``Age`` (section 5.1), without those of the connection that brought it."""
        headers = {name: value for name, value in self.headers.items() if name not in _HOP}
        headers["age"] = str(max(0, int(now - self.dated)))
        return headers


def cache_key(method: str, url: str, headers: Mapping[str, str], apart: str = "") -> CacheKey | None:
    """Return under which name the answers to a request are kept, or None where none may be."""
    if method not in {"GET", "HEAD"}:
        return None
    if not headers:
        return (method, url, (), apart)
    own = sorted((name.lower(), value) for name, value in headers.items())
    return (method, url, tuple(own), apart) if not any(name in _OWN_WAY for name, _ in own) else None


def request_of(key: CacheKey, headers: Mapping[str, str]) -> Request:
    """Put a request as hishel wants it."""
    return Request(key[0], key[1], Headers(headers))


def entries_of(
    key: CacheKey, variants: Sequence[StoredResponse], now: float, *, dated_only: bool = False
) -> list[Entry]:
    """Return stored responses in hishel's form, numbered by id; with ``dated_only``, those that can be fresh."""
    entries = []
    for number, stored in enumerate(variants):
        headers = {name: value for name, value in stored.headers.items() if name not in _HOP and name != "age"}
        if dated_only:
            lifetime = lifetime_of(stored.headers, stored.came)
            if lifetime is None:
                continue
            # Without Last-Modified nothing is guessed to be fresh (section 4.2.2 allows to, and need not).
            headers.pop("last-modified", None)
            headers["cache-control"] = cache_control(stored.headers).restated(lifetime)
        # It counts ages from the wall clock of now: its age is always the one on our clock.
        headers["date"] = formatdate(int(time()) - int(now - stored.dated), usegmt=True)
        entries.append(
            Entry(UUID(int=number), request_of(key, stored.asked), Response(stored.status, Headers(headers)))
        )
    return entries


def storable(
    key: CacheKey, asked: Mapping[str, str], status: int, headers: dict[str, str]
) -> dict[str, str] | None:
    """Return the headers to keep, or None where the answer may not be kept, or keeping it is of no use."""
    if _personal(headers):
        return None
    if key[2] and blamed(status):
        return None
    directives = "cache-control" in headers
    if not (directives or "expires" in headers or "etag" in headers or "last-modified" in headers):
        return None
    if not directives and not (key[2] and any(name == "authorization" for name, _ in key[2])):
        # What hishel finds for such answers, in a hundredth of the time; a test compares them.
        dated = "expires" in headers and status not in _PARTIAL
        return headers if dated or status in _STORABLE else None
    said = cache_control(headers)
    if said.must_understand and status not in _STORABLE:
        return None
    lifetime = said.max_age if said.s_maxage is None else said.s_maxage
    restated = Headers({**headers, "cache-control": said.restated(lifetime)})
    found = CacheMiss({"shared": True}, request_of(key, asked)).next(Response(status, restated))
    if not isinstance(found, StoreAndUse):
        return None
    return {name: value for name, value in headers.items() if name in found.response.headers}


def blamed(status: int) -> bool:
    """Return whether an answer may be an error that headers of the request have caused."""
    return status >= 400 and status not in _MISSING


def shareable(asked: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Return whether an answer may be given to others who ask for the same while it comes (sections 3 and 4)."""
    if _personal(headers):
        return False
    if not asked and "cache-control" not in headers:
        return True
    said = cache_control(headers)
    if said.flags & _OWN:
        return False
    if not any(name.lower() == "authorization" for name in asked):
        return True
    return bool(said.s_maxage) or bool(said.flags & _SHARED)


def _personal(headers: Mapping[str, str]) -> bool:
    """Return whether an answer is for the client that asked alone, apart from what its ``Cache-Control`` says."""
    if "set-cookie" in headers or "set-cookie2" in headers:
        return True
    return "vary" in headers and "*" in _names(headers["vary"])


def replaces(old: StoredResponse, asked: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Return whether a new answer replaces an old one: its Vary tells them not apart."""
    before = {name.lower(): value for name, value in old.asked.items()}
    now = {name.lower(): value for name, value in asked.items()}
    return all(before.get(name) == now.get(name) for name in _names(headers.get("vary", "")))


def _names(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",") if name.strip()]
