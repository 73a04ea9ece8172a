"""Times as people and other programs write them (RFC 3339), and when a job is due."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from service.core.errors import InvalidParams
from service.core.jobs.events import Event, Instant
from service.core.jobs.request import JobRequest, MoveRequest
from service.runtime.timestamps import timestamp

__all__ = ["due_of", "encode_event"]

_FORM = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:Z|[+-][0-9]{2}:[0-5][0-9])"
)
_LEAP = re.compile(r"([T ][0-9]{2}:[0-9]{2}):60(?=[.Z+-])")
"""A leap second, which RFC 3339 allows; Unix time counts it as the second that follows, the first one of a day."""
_DAY = 86_400
_FARTHEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def due_of(request: JobRequest | MoveRequest, now: float) -> float:
    """Return when a job is due, in seconds since 1970; raise InvalidParams for a time that is not one."""
    if request.at is not None and request.delay is not None:
        raise InvalidParams("delay, at: give one of them")
    if request.at is None:
        return now + (request.delay or 0.0)
    text, leap = _LEAP.subn(r"\1:59", request.at.upper())
    try:
        if _FORM.fullmatch(text) is None:
            raise ValueError
        at = datetime.fromisoformat(text)
        seconds = at.timestamp() + leap if at.tzinfo is not None else None
        if leap and seconds is not None and int(seconds) % _DAY:
            seconds = None
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None:
        raise InvalidParams("at: a time as RFC 3339 has it, such as 2026-11-27T09:30:00Z")
    return min(max(0.0, seconds), _FARTHEST)


def encode_event(event: Event) -> bytes:
    """Return the event as JSON."""
    return msgspec.json.encode(event, enc_hook=_write)


def _write(value: Any) -> str:
    if isinstance(value, Instant):
        return timestamp(value.seconds)
    raise NotImplementedError(type(value))
