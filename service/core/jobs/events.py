"""The events of a job, in the topic ``job:ID``. Times are :class:`Instant`; the shell writes them as RFC 3339."""

from typing import Any

import msgspec

__all__ = [
    "Cancelled", "Done", "Event", "Failed", "Instant", "Progress", "Queued", "Rescheduled", "Retry", "Started",
    "is_last",
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


class Queued(_Event, frozen=True, tag="queued"):
    """It was accepted, or is to run once more: then ``run`` is 2 or higher."""

    due: Instant
    run: int = 1


class Started(_Event, frozen=True, tag="started"):
    """An attempt began."""

    attempt: int
    worker: str


class Progress(_Event, frozen=True, tag="progress"):
    """How far the attempt is, or anything that its function says."""

    done: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None


class Retry(_Event, frozen=True, tag="retry"):
    """An attempt failed, and there will be another one."""

    attempt: int
    error: str
    detail: str
    at: Instant


class Rescheduled(_Event, frozen=True, tag="rescheduled"):
    """It is due at another time."""

    due: Instant


class Done(_Event, frozen=True, tag="done"):
    """Last: it succeeded."""

    result: Any


class Failed(_Event, frozen=True, tag="failed"):
    """Last: it is not tried again."""

    error: str
    detail: str
    attempts: int


class Cancelled(_Event, frozen=True, tag="cancelled"):
    """Last: it was cancelled."""


Event = Queued | Started | Progress | Retry | Rescheduled | Done | Failed | Cancelled


def is_last(event: Event) -> bool:
    """Return whether a run ends with this event."""
    return isinstance(event, Done | Failed | Cancelled)
