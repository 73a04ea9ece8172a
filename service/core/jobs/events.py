"""The events of a job, in the topic ``job:ID``. Times are :class:`Instant`; the shell writes them as RFC 3339."""

from typing import Any

import msgspec

__all__ = [
    "CancelledEvent", "DoneEvent", "Event", "FailedEvent", "Instant", "ProgressEvent", "QueuedEvent",
    "RescheduledEvent", "RetryEvent", "StartedEvent", "is_last",
]  # fmt: skip


class Instant:
    """A point in time, in seconds since 1970."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<Instant {self.seconds:.3f}>"


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event"):
    """One event."""


class QueuedEvent(_Event, frozen=True, tag="queued"):
    """It was accepted, or is to run once more: then ``run`` is 2 or higher."""

    due: Instant
    run: int = 1


class StartedEvent(_Event, frozen=True, tag="started"):
    """An attempt began."""

    attempt: int
    worker: str


class ProgressEvent(_Event, frozen=True, tag="progress"):
    """How far the attempt is, or anything that its function says."""

    done: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None


class RetryEvent(_Event, frozen=True, tag="retry"):
    """An attempt failed, and there will be another one."""

    attempt: int
    error: str
    detail: str
    at: Instant


class RescheduledEvent(_Event, frozen=True, tag="rescheduled"):
    """It is due at another time."""

    due: Instant


class DoneEvent(_Event, frozen=True, tag="done"):
    """Last: it succeeded."""

    result: Any


class FailedEvent(_Event, frozen=True, tag="failed"):
    """Last: it is not tried again."""

    error: str
    detail: str
    attempts: int


class CancelledEvent(_Event, frozen=True, tag="cancelled"):
    """Last: it was cancelled."""


Event = (
    QueuedEvent
    | StartedEvent
    | ProgressEvent
    | RetryEvent
    | RescheduledEvent
    | DoneEvent
    | FailedEvent
    | CancelledEvent
)


def is_last(event: Event) -> bool:
    """Return whether a run ends with this event."""
    return isinstance(event, DoneEvent | FailedEvent | CancelledEvent)
