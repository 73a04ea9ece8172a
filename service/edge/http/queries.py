"""The query parameters of a request: ours, ours misspelt, and those of others."""

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from service.core.errors import InvalidParams

__all__ = ["LAST_EVENT_IDS", "STREAM", "check_query"]

LAST_EVENT_IDS: Final = ("lastEventId", "last_event_id")
"""How EventSource polyfills, which cannot set headers, send the last event id."""
STREAM: Final = ("since", "on_lag", *LAST_EVENT_IDS)
"""The parameters of every event stream."""


def check_query(request: web.Request, names: Iterable[str]) -> None:
    """Raise InvalidParams for a parameter that is nearly one of ``names``, and for one of them with two values.

    Others are passed over: proxies and clients add their own. Nearly means another case or other separators, or a
    letter that is wrong, missing, too many or in the wrong place.
    """
    query = request.query
    if not query:
        return
    for name in query:
        if name in names:
            # A polyfill may append the newest id to a URL that has an older one.
            if name not in LAST_EVENT_IDS and len(set(query.getall(name))) > 1:
                raise InvalidParams(f"{name}: given more than once, with different values")
            continue
        for ours in names:
            if _nearly(_plain(name), _plain(ours)):
                raise InvalidParams(f"{name[:40]}: there is no such parameter; did you mean {ours}?")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _nearly(given: str, ours: str) -> bool:
    """Return whether at most one edit (Damerau, 1964) leads from one to the other."""
    if abs(len(given) - len(ours)) > 1:
        return False
    same = next((at for at, (a, b) in enumerate(zip(given, ours, strict=False)) if a != b), None)
    if same is None:
        return True
    rest, other = given[same:], ours[same:]
    return (
        rest[1:] == other[1:]
        or rest[1:] == other
        or rest == other[1:]
        or (rest[2:] == other[2:] and rest[:2] == other[1::-1])
    )
