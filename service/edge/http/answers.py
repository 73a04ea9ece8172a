"""The form of an answer, what a client asks for in it, and the wait for one that the core gives later.

A client asks for media types (RFC 9110, section 12.5.1): one of ours counts only if it is named. It may also prefer
not to wait (RFC 7240).
"""

import asyncio
from typing import Final, TypeVar

from aiohttp import hdrs, web

from service.core.pending import Pending
from service.core.sessions.late_answers import PATIENCE, unanswered
from service.runtime.awaiting import outcome_of

__all__ = [
    "NDJSON", "SSE", "answer_of", "answers_event_stream", "json_answer", "prefers_async",
    "wants_ndjson", "wants_sse",
]  # fmt: skip

T = TypeVar("T")

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
_NO_STORE: Final = {hdrs.CACHE_CONTROL: "no-store"}
"""No cache may keep it: the next answer may be a different one."""


def wants_sse(request: web.Request) -> bool:
    """Return whether the client asks for server-sent events, and for NDJSON less than that."""
    weight = _weight(request, SSE)
    return weight > 0 and weight >= _weight(request, NDJSON)


def wants_ndjson(request: web.Request) -> bool:
    """Return whether the client asks for NDJSON, and for server-sent events less than that."""
    return _weight(request, NDJSON) > _weight(request, SSE)


def answers_event_stream(request: web.Request) -> bool:
    """Return whether the client asks for a stream, where one document is the default."""
    return _weight(request, NDJSON) > 0 or _weight(request, SSE) > 0


def prefers_async(request: web.Request) -> bool:
    """Return whether the client would rather not wait: several lines are one list (RFC 7240, section 2)."""
    entries = (entry for line in request.headers.getall("Prefer", ()) for entry in line.split(","))
    return any(entry.partition(";")[0].partition("=")[0].strip().lower() == "respond-async" for entry in entries)


def _weight(request: web.Request, media_type: str) -> float:
    """Return the weight of a media type that is named in full, or 0."""
    for line in request.headers.getall(hdrs.ACCEPT, ()):
        for entry in line.split(","):
            name, *parameters = (part.strip().lower() for part in entry.split(";"))
            if name == media_type:
                return next((_number(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    return 0.0


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0


def json_answer(document: bytes) -> web.Response:
    """Return the answer with a document that is encoded already."""
    return web.Response(body=document, content_type="application/json", headers=_NO_STORE)


async def answer_of(answer: T | Pending[T]) -> T:
    """Return the answer, or raise the error that stands for it; Unanswered where none comes in time."""
    if not isinstance(answer, Pending):
        return answer
    try:
        async with asyncio.timeout(PATIENCE):
            return await outcome_of(answer)
    except TimeoutError:
        raise unanswered() from None
