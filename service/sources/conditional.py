"""Conditional polls: which validators are sent back, and what the answer to a poll means."""

from collections.abc import Mapping
from typing import Final, Literal

from service.core.fetching.headers import HEADER_VALUE
from service.core.fetching.outcome import Failure, Fetched
from service.upstream.attempts import retry_after_of
from service.upstream.caching.dates import seconds_of

__all__ = ["Meaning", "conditions_for", "meaning_of"]

Meaning = Literal["state", "unchanged", "repeat"]
"""``repeat``: it has to be asked again at once, without conditions."""

_PASSING: Final = frozenset({408, 425, 429})
"""Statuses that say nothing of the resource; those from 500 on do not either."""
_REFUSED: Final = frozenset({400, 412, 416, 431})
"""Statuses that a server may have for the conditions rather than for the resource."""
_LONGEST_DATE: Final = 40


def conditions_for(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the conditions of the next poll: the validators of an answer that can be sent back."""
    found = {}
    etag = headers.get("etag", "").strip()
    # An asterisk would match anything.
    if etag and etag != "*" and HEADER_VALUE.fullmatch(etag):
        found["If-None-Match"] = etag
    date = headers.get("last-modified", "").strip()
    if date.isascii() and len(date) <= _LONGEST_DATE and seconds_of(date) is not None:
        found["If-Modified-Since"] = date
    return found


def meaning_of(outcome: Fetched | Failure, conditions: Mapping[str, str] | None, source: str) -> Meaning | Failure:
    """Return the outcome of a poll with these conditions, which are from an answer of the URL ``source``.

    A Failure says nothing of the resource.
    """
    if isinstance(outcome, Failure):
        return "repeat" if conditions and outcome.kind == "invalid_request" else outcome
    status = outcome.status
    if status >= 500 or status in _PASSING:
        return Failure("unavailable", f"status {status}", retry_after_of(outcome))
    if status == 304:
        return _not_modified(outcome, conditions, source)
    if status == 206:
        return Failure("protocol", "status 206: a part of the document, where all of it was asked for")
    return "repeat" if conditions and status in _REFUSED else "state"


def _not_modified(fetched: Fetched, conditions: Mapping[str, str] | None, source: str) -> Meaning | Failure:
    if not conditions:
        return Failure("protocol", "status 304 to a request without conditions")
    if fetched.target.url != source:
        # A redirect leads elsewhere now, and other resources have validators of their own.
        return "repeat"
    sent, got = conditions.get("If-None-Match"), fetched.headers.get("etag")
    if sent is None or got is None or got.strip().removeprefix("W/") == sent.removeprefix("W/"):
        return "unchanged"
    # It confirms something that is not here (RFC 9111, section 4.3.4).
    return "repeat"
