"""What a client accepts (RFC 9110, section 12.5.1), which of our media types it asks for by name; and prefers."""

from typing import Final

from aiohttp import hdrs, web

__all__ = ["NDJSON", "SSE", "answers_event_stream", "prefers_async", "wants_ndjson", "wants_sse"]

NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"


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
