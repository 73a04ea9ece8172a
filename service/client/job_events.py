"""The events of jobs, as docs/jobs.md has them."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from .events import Event, OtherEvent, reader_of
from .values import Gap, Restart

__all__ = ["JobCancelled", "JobDone", "JobEvent", "JobFailed", "JobProgress", "JobQueued", "JobRescheduled",
           "JobRetry", "JobStarted", "read_job_event"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueued(Event):
    """It was accepted; with a ``run`` of 2 or higher, it runs once more."""

    event: Literal["queued"]
    due: str
    run: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """An attempt has begun."""

    event: Literal["started"]
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress(Event):
    """How far its function is, or anything that it says as ``data``."""

    event: Literal["progress"]
    done: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetry(Event):
    """An attempt has failed, and the next one is due ``at`` this time."""

    event: Literal["retry"]
    attempt: int
    error: str
    detail: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRescheduled(Event):
    """It is due at another time."""

    event: Literal["rescheduled"]
    due: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone(Event):
    """The last event of a run that succeeded."""

    event: Literal["done"]
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """The last event of a run that failed; ``error`` is one of docs/jobs.md's kinds."""

    event: Literal["failed"]
    error: str
    detail: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(Event):
    """The last event of a run that was cancelled."""

    event: Literal["cancelled"]


JobEvent = (
    JobQueued | JobStarted | JobProgress | JobRetry | JobRescheduled | JobDone | JobFailed | JobCancelled
    | OtherEvent | Gap | Restart
)  # fmt: skip

read_job_event: Final = reader_of(
    {
        "queued": JobQueued,
        "started": JobStarted,
        "progress": JobProgress,
        "retry": JobRetry,
        "rescheduled": JobRescheduled,
        "done": JobDone,
        "failed": JobFailed,
        "cancelled": JobCancelled,
    }
)
