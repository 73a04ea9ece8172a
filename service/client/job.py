"""A job, as a program follows it: its events, its result, its end."""

from collections.abc import AsyncIterator, Mapping
from math import inf
from typing import Any, Literal, Protocol, TypedDict

from .encoding import encode, expected
from .errors import JobError, Refused
from .job_events import (
    JobCancelled,
    JobDone,
    JobEvent,
    JobFailed,
    JobQueued,
    JobRescheduled,
    JobRetry,
    JobStarted,
    read_job_event,
)
from .stream import Stream, Value
from .subscription import Opener, Subscription

__all__ = ["Job", "JobRequest", "JobState"]

JobState = Literal["scheduled", "queued", "running", "done", "failed", "cancelled"]


class JobRequest(TypedDict, total=False):
    """What may be asked of a job (docs/jobs.md): exactly one of the first four. None is as if it was not there."""

    call: Mapping[str, Any] | None
    publish: Mapping[str, Any] | None
    fetch: Mapping[str, Any] | None
    run: Mapping[str, Any] | None
    delay: float | None
    at: str | None
    key: str | None
    retries: int | None
    timeout: float | None
    keep: float | None


class _Link(Opener, Protocol):
    """The part of the client that a job uses."""

    async def call(self, method: str, body: bytes, again_for: float) -> dict[str, Any]:
        """Make a request."""


class Job:
    """A job that was made, or is followed.

    An iterable of its events: each loop begins with the first one, and ends after the last one of the run that is
    under way when it begins. It may have several loops, and they cancel nothing when they are left.
    """

    def __init__(self, link: _Link, job_id: str, *, state: JobState | None = None, due: str | None = None) -> None:
        self.id = job_id
        """With which anyone may follow or cancel it."""
        self.state = state
        """What was heard last: by the answer to the request that made it, then from loops; None before that."""
        self.due = due
        """When it begins, or begins again, as the service writes times."""
        self._link = link

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state}>"

    @property
    def topic(self) -> str:
        """The topic with its events."""
        return f"job:{self.id}"

    def __aiter__(self) -> AsyncIterator[JobEvent]:
        """Iterate over its events; raises Refused (``not_found`` once it is not kept any more)."""
        return aiter(self.events())

    def events(self) -> Subscription[JobEvent]:
        """Return its events as a subscription, which has a position and is a context manager."""
        return Subscription(self._link, Stream("subscribe", {"topic": self.topic}, "oldest"), self._read)

    async def result(self) -> Any:
        """Wait for its end and return what it has led to; raises JobError where it failed or was cancelled."""
        last: JobEvent | None = None
        async with self.events() as events:
            async for event in events:
                last = event
        match last:
            case JobDone():
                return last.result
            case JobFailed():
                raise JobError("failed", last.error, last.detail, last.attempts)
            case JobCancelled():
                raise JobError("cancelled", "cancelled", "the job was cancelled")
        raise Refused("not_found", "how the job has ended is not kept any more")

    async def cancel(self) -> bool:
        """Have it never run, or stop; return whether it is cancelled: an ended one stays as it is."""
        answer = await self._link.call("cancel", encode({"job": self.id}), inf)
        state: Any = expected(answer, "state", str)
        self.state = state
        # A repetition, after a cut, finds it cancelled by the first request.
        return expected(answer, "cancelled", bool) or state == "cancelled"

    def _read(self, value: Value) -> JobEvent:
        event: JobEvent = read_job_event(value)
        match event:
            case JobQueued() | JobRescheduled():
                self.state, self.due = "scheduled", event.due
            case JobRetry():
                self.state, self.due = "scheduled", event.at
            case JobStarted():
                self.state = "running"
            case JobDone() | JobFailed() | JobCancelled():
                self.state = event.event
        return event
