"""What RFC 9111 says of a request and an answer, by hishel, and what is kept of both for that.

The decisions are hishel's: what may be stored, whether it is fresh, how it is validated and updated. Three
things go beyond: an ``Age`` and a missing or future ``Date`` count (section 4.2.3); nothing is taken for fresh
that its upstream has not dated, though it may be validated; answers to requests with headers that may carry
credentials are kept apart, and answers that set cookies not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final
from uuid import UUID

from hishel import CacheMiss, Entry, Headers, Request, Response, StoreAndUse

from service.upstream.dates import delay_of, seconds_of

__all__ = [
    "Key",
    "Stored",
    "entries_of",
    "key_of",
    "replaces",
    "request_of",
    "seconds_in",
    "storable",
]

# What a request may differ in without being another person's: the upstream's Vary decides on these.
_PUBLIC: Final = frozenset(
    ("accept", "accept-charset", "accept-language", "dnt", "from", "origin", "priority", "referer", "user-agent",
     "traceparent", "tracestate", "upgrade-insecure-requests")
)  # fmt: skip
# Whoever sends one of these speaks with the upstream directly.
_OWN_WAY: Final = frozenset(
    ("cache-control", "pragma", "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
     "if-range")
)  # fmt: skip
_STORABLE: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses of which a plain answer may be stored (RFC 9110, section 15.1)."""
_LONGEST_DIRECTIVES: Final = 1024
_PARTIAL: Final = frozenset({206, 304})
_HOP: Final = frozenset(
    ("connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection", "proxy-authenticate",
     "proxy-authentication-info", "proxy-authorization")
)  # fmt: skip

Key = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(slots=True, eq=False)
class Stored:
    """An answer that may be used again."""

    status: int
    headers: dict[str, str]
    body: bytes
    asked: Mapping[str, str]
    """The headers of the request that brought it."""
    received: float
    """In seconds of the Unix epoch."""
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
            apparent = max(0.0, self.received - date) if date is not None else 0.0
            self._dated = self.received - max(apparent, delay_of(self.headers.get("age")) or 0.0)
        return self._dated

    def aged(self, now: float) -> dict[str, str]:
        """Return its headers with its ``Age`` (section 5.1), without those of the connection that brought it."""
        headers = {name: value for name, value in self.headers.items() if name not in _HOP}
        headers["age"] = str(max(0, int(now - self.dated)))
        return headers


def key_of(method: str, url: str, headers: Mapping[str, str]) -> Key | None:
    """Return under which name the answers to a request are kept, or None where none may be."""
    if method not in {"GET", "HEAD"}:
        return None
    if not headers:
        return (method, url, ())
    apart = []
    for name, value in headers.items():
        lower = name.lower()
        if lower in _OWN_WAY:
            return None
        if lower not in _PUBLIC:
            apart.append((lower, value))
    return (method, url, tuple(sorted(apart)))


def request_of(key: Key, headers: Mapping[str, str]) -> Request:
    """Put a request as hishel wants it."""
    return Request(key[0], key[1], Headers(headers))


def entries_of(key: Key, variants: list[Stored], *, dated_only: bool = False) -> list[Entry]:
    """Put what is stored as hishel wants it, numbered in its id; ``dated_only`` what can be fresh."""
    entries = []
    for number, stored in enumerate(variants):
        if dated_only and not ("cache-control" in stored.headers or "expires" in stored.headers):
            continue
        # Without Last-Modified nothing is guessed to be fresh (RFC 9111, section 4.2.2, allows to, and need not).
        left_out = _HOP | ({"age", "last-modified"} if dated_only else {"age"})
        headers = {name: value for name, value in stored.headers.items() if name not in left_out}
        headers["date"] = formatdate(stored.dated, usegmt=True)
        entries.append(
            Entry(UUID(int=number), request_of(key, stored.asked), Response(stored.status, Headers(headers)))
        )
    return entries


def storable(key: Key, asked: Mapping[str, str], status: int, headers: dict[str, str]) -> dict[str, str] | None:
    """Return the headers to keep, or None where the answer may not be kept, or keeping it is of no use."""
    if "set-cookie" in headers or headers.get("vary") == "*":
        return None
    directives = headers.get("cache-control")
    if not (directives or "expires" in headers or "etag" in headers or "last-modified" in headers):
        return None
    if directives is None and not key[2]:
        # What hishel finds for such answers, in a hundredth of the time; a test compares them.
        dated = "expires" in headers and status not in _PARTIAL
        return headers if dated or status in _STORABLE else None
    if len(directives or "") > _LONGEST_DIRECTIVES:
        return None
    found = CacheMiss({"shared": True}, request_of(key, asked)).next(Response(status, Headers(headers)))
    return dict(found.response.headers) if isinstance(found, StoreAndUse) else None


def replaces(old: Stored, asked: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Return whether a new answer replaces an old one: its Vary tells them not apart."""
    before = {name.lower(): value for name, value in old.asked.items()}
    now = {name.lower(): value for name, value in asked.items()}
    return all(before.get(name) == now.get(name) for name in _names(headers.get("vary", "")))


def _names(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def seconds_in(directives: list[str], name: str) -> float:
    """Return the seconds of a directive that begins with ``name``, or 0."""
    text = next((part[len(name) :] for part in directives if part.startswith(name)), "")
    return delay_of(text) or 0.0
