"""What is said of jobs, as types: for the documents that the service serves, and for tests and clients."""

from typing import Annotated, Any

import msgspec

from service.core.jobs.request import Kind
from service.core.jobs.summary import JobState

__all__ = [
    "JobAccepted", "JobCancel", "JobCancelled", "JobDone", "JobFailed", "JobList", "JobProgress", "JobQueued",
    "JobRescheduled", "JobRetry", "JobStarted", "JobView",
]  # fmt: skip

_Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """Fields may be added in time: clients ignore what they do not know, and tests do not."""


class JobAccepted(_Said):
    """A job that was accepted; ``due`` is when it begins."""

    job: str
    topic: str
    epoch: str
    state: JobState
    due: _Time


class JobView(JobAccepted):
    """How far a job is."""

    kind: Kind
    run: Annotated[int, msgspec.Meta(ge=1)]
    """2 or higher where it ran once more."""
    attempts: _Count
    """Of this run."""
    created: _Time
    ended: _Time | None
    key: str | msgspec.UnsetType = msgspec.UNSET
    stopping: bool | msgspec.UnsetType = msgspec.UNSET
    """There, and true, where it was cancelled while it runs."""
    result: Any | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET
    output: str | msgspec.UnsetType = msgspec.UNSET
    """The newest 16 KiB that the last attempt of a function has printed."""


class JobList(_Said):
    """A client's jobs, the newest first; ``next`` is the ``after`` of the list that goes on."""

    jobs: list[JobView]
    next: str | None


class JobCancel(_Said):
    """Whether a job had not ended, and its state."""

    cancelled: bool
    state: JobState


class JobQueued(_Said, tag_field="event", tag="queued"):
    """A job was accepted, or is to run once more."""

    due: _Time
    run: int = 1


class JobStarted(_Said, tag_field="event", tag="started"):
    """An attempt began."""

    attempt: int
    worker: str


class JobProgress(_Said, tag_field="event", tag="progress"):
    """How far an attempt is, or anything that its function says as ``data``."""

    done: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None


class JobRetry(_Said, tag_field="event", tag="retry"):
    """An attempt failed, and there will be another one."""

    attempt: int
    error: str
    detail: str
    at: _Time


class JobRescheduled(_Said, tag_field="event", tag="rescheduled"):
    """A job is due at another time."""

    due: _Time


class JobDone(_Said, tag_field="event", tag="done"):
    """Last: a job succeeded."""

    result: Any


class JobFailed(_Said, tag_field="event", tag="failed"):
    """Last: a job is not tried again."""

    error: str
    detail: str
    attempts: int


class JobCancelled(_Said, tag_field="event", tag="cancelled"):
    """Last: a job was cancelled."""
