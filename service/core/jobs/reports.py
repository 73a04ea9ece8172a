"""What the service and a worker elsewhere say to each other about an attempt, as JSON over HTTP."""

from typing import Annotated, Any

import msgspec

__all__ = [
    "Claim", "Claimed", "Report", "Reported", "WorkerDone", "WorkerEvent", "WorkerFailed", "WorkerProgress",
    "WorkerStopped",
]  # fmt: skip

_Output = Annotated[str, msgspec.Meta(max_length=16 << 10)]
_Detail = Annotated[str, msgspec.Meta(max_length=4000)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields by name."""


class Claim(_Base, frozen=True):
    """May I make this attempt? ``claim`` is a random text, the same when the question is repeated."""

    claim: Annotated[str, msgspec.Meta(min_length=16, max_length=64)]
    worker: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Claimed(msgspec.Struct, frozen=True):
    """Yes: this is to be done, and so often to be reported on."""

    job: str
    attempt: int
    key: str
    name: str
    args: list[Any] | dict[str, Any]
    timeout: float
    heartbeat: float
    """Seconds between two reports, at most."""


class _Event(_Base, frozen=True, tag_field="event"):
    """One event of a worker."""


class WorkerProgress(_Event, frozen=True, tag="progress"):
    """What the function says."""

    done: float | None = None
    total: float | None = None
    message: str | None = None
    data: Any = None


class WorkerDone(_Event, frozen=True, tag="done"):
    """Last: what the function returned, and what it has printed."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    output: _Output = ""


class WorkerFailed(_Event, frozen=True, tag="failed"):
    """The last event: why the attempt failed, whether another attempt may help, and after how many seconds."""

    error: Annotated[str, msgspec.Meta(pattern="^(exception|killed|timeout)$")]
    detail: _Detail
    again: bool = True
    after: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None
    output: _Output = ""


class WorkerStopped(_Event, frozen=True, tag="stopped"):
    """Last: the function was stopped, as was asked for."""

    output: _Output = ""


WorkerEvent = WorkerProgress | WorkerDone | WorkerFailed | WorkerStopped


class Report(_Base, frozen=True):
    """Events in their order, the first of which has this number, from 1 on; none of them is a heartbeat."""

    first: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    events: Annotated[list[WorkerEvent], msgspec.Meta(max_length=1000)] = []


class Reported(msgspec.Struct, frozen=True):
    """How far they were taken in."""

    next: int
    """The number of the event that is expected next."""
    stop: bool
    """Whether the job was cancelled."""
