"""One job: its states, and for each transition the change and its event.

    state      by              next       event
    -          accept          scheduled  queued
    scheduled  move            scheduled  rescheduled
    scheduled  cancel          cancelled  cancelled
    scheduled  begin           running    started
    running    progress        running    progress
    running    succeed         done       done
    running    fail, retried   scheduled  retry
    running    fail            failed     failed
    running    lose            scheduled  retry
    running    lose, 3 in a row  failed   failed
    running    cancel          running    -
    running    stopped         cancelled  cancelled
    failed     move            scheduled  queued
    cancelled  move            scheduled  queued

A scheduled job whose time has come is shown as ``queued``: nothing is written for that. A run is what lies between
a ``queued`` and the next ``done``, ``failed`` or ``cancelled``, which is its last event. A running job that is
cancelled is asked to stop, and has ended when it has stopped.
"""

from typing import Final

import msgspec

from service.core.errors import InvalidParams
from service.core.jobs.events import (
    CancelledEvent,
    DoneEvent,
    Event,
    FailedEvent,
    Instant,
    ProgressEvent,
    QueuedEvent,
    RescheduledEvent,
    RetryEvent,
    StartedEvent,
)
from service.core.jobs.lease import Lease
from service.core.jobs.summary import JobState, JobSummary

__all__ = ["MOST_EVENTS", "Job", "Unmovable"]

_LOST: Final = 3
"""Attempts in a row that are lost to the end of a worker or of the service before the job fails."""
_RETRIES: Final = 5
_TIMEOUT: Final = 30.0
_RUN_TIMEOUT: Final = 600.0
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 3600.0
"""Seconds before a failed attempt is made again; twice as many after each further one."""
MOST_EVENTS: Final = 100_000
"""Of one job; further progress is not kept."""


class Unmovable(InvalidParams):
    """The state of the job does not allow it (409 over HTTP)."""

    status = 409


class Job(JobSummary, omit_defaults=True):
    """A job as it is kept; times are in seconds since 1970. Each method is a row of the table above."""

    id: str
    epoch: str
    """Of its topic."""
    work: msgspec.Raw
    """What is to be done, as JSON; empty where that is damaged on disk."""
    created: float
    grant: msgspec.Raw = msgspec.Raw(b"null")
    """What its client may ask, for the kinds that ask for it."""
    digest: str = ""
    """Of what was asked for with the key."""
    retries: int | None = None
    timeout: float | None = None
    run: int = 1
    attempt: int = 0
    """How many were begun in this run."""
    failures: int = 0
    lost: int = 0
    """How many in a row were lost."""
    stopping: bool = False
    """Whether it was cancelled while it ran."""
    head: int = 0
    """The offset of its newest event."""
    first: int = 1
    """The offset of the first event of this run."""
    error: str | None = None
    detail: str | None = None

    def __repr__(self) -> str:
        # Gets into logs: who knows the whole id can read and cancel it.
        return f"<Job {self.id[:6]}… {self.kind} {self.state}>"

    @property
    def run_key(self) -> str:
        """The name of the present run, which no other run of any job has."""
        return self.id if self.run == 1 else f"{self.id}-{self.run}"

    @property
    def effect_key(self) -> str:
        """What makes an effect elsewhere happen once: the client's key, which later jobs may have, or the run's."""
        return self.key or self.run_key

    def shown_state(self, now: float) -> JobState:
        """Return the state as clients see it: a job that is due but has not begun is queued."""
        if self.state is JobState.SCHEDULED and self.due <= now:
            return JobState.QUEUED
        return self.state

    def allowed_retries(self, default: int | None = None) -> int:
        """Return how often it may fail and be tried again; the request wins over the ``default``."""
        return next(value for value in (self.retries, default, _RETRIES) if value is not None)

    def time(self, default: float | None = None) -> float:
        """Return the seconds that an attempt may take."""
        usual = _RUN_TIMEOUT if self.kind == "run" else _TIMEOUT
        return next(value for value in (self.timeout, default, usual) if value is not None)

    def accept(self) -> Event:
        """Begin its life."""
        return self._say(QueuedEvent(Instant(self.due)))

    def move(self, due: float) -> Event:
        """Have it run at another time, or once more; raise Unmovable while it runs and when it is done."""
        if self.state is JobState.RUNNING:
            raise Unmovable("at, delay: the job is running; cancel it first")
        if self.state is JobState.DONE:
            raise Unmovable("at, delay: the job is done; only one that failed or was cancelled runs again")
        self.due = due
        if not self.state.ended:
            return self._say(RescheduledEvent(Instant(due)))
        self.state, self.run = JobState.SCHEDULED, self.run + 1
        self.attempt = self.failures = self.lost = 0
        self.stopping, self.ended, self.error, self.detail, self.output = False, None, None, None, None
        self.first = self.head + 1
        return self._say(QueuedEvent(Instant(due), self.run))

    def begin(self, worker: str, lease: Lease | None = None) -> Event:
        """Begin an attempt; with a lease, it is one that a worker elsewhere makes."""
        self._check(JobState.SCHEDULED)
        self.state, self.lease = JobState.RUNNING, lease
        self.attempt += 1
        return self._say(StartedEvent(self.attempt, worker))

    def progress(self, progress: ProgressEvent) -> Event:
        """Count what the attempt says."""
        self._check(JobState.RUNNING)
        return self._say(progress)

    def succeed(self, result: msgspec.Raw, now: float) -> Event:
        """End it with a result."""
        self.result, self.lost = result, 0
        return self._end(JobState.DONE, now)

    def fail(
        self, error: str, detail: str, now: float, *, retries: int | None, chance: float, after: float | None = None
    ) -> Event:
        """End an attempt; more than ``retries`` of them, or any where that is None, fail the job."""
        self._check(JobState.RUNNING)
        self.failures += 1
        self.lost = 0
        if retries is None or self.failures > retries:
            return self._fail(error, detail, now)
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (self.failures - 1)) * (0.5 + chance)
        return self._retry(error, detail, now + (delay if after is None else after))

    def lose(self, detail: str, now: float) -> Event:
        """End an attempt whose outcome is unknown; it uses up no retry."""
        self._check(JobState.RUNNING)
        self.lost += 1
        return self._fail("lost", detail, now) if self.lost >= _LOST else self._retry("lost", detail, now)

    def cancel(self, now: float) -> Event | None:
        """Have it never run, or stop; an ended one stays as it is."""
        if self.state is JobState.SCHEDULED:
            return self._end(JobState.CANCELLED, now, before=JobState.SCHEDULED)
        if self.state is JobState.RUNNING:
            self.stopping = True
        return None

    def stopped(self, now: float) -> Event:
        """End one that was cancelled while it ran."""
        return self._end(JobState.CANCELLED, now)

    def outcome(self) -> Event:
        """Return the last event of a run, which has ended."""
        if self.state is JobState.DONE:
            return DoneEvent(self.result)
        if self.state is JobState.FAILED:
            return FailedEvent(self.error or "", self.detail or "", self.attempt)
        return CancelledEvent()

    def _fail(self, error: str, detail: str, now: float) -> Event:
        self.error, self.detail = error, detail
        return self._end(JobState.FAILED, now)

    def _retry(self, error: str, detail: str, at: float) -> Event:
        self.state, self.due, self.lease = JobState.SCHEDULED, at, None
        return self._say(RetryEvent(self.attempt, error, detail, Instant(at)))

    def _end(self, state: JobState, now: float, *, before: JobState = JobState.RUNNING) -> Event:
        self._check(before)
        self.state, self.ended, self.lease = state, now, None
        return self._say(self.outcome())

    def _say(self, event: Event) -> Event:
        self.head += 1
        return event

    def _check(self, state: JobState) -> None:
        if self.state is not state:
            raise ValueError(f"{self!r} is not {state}")
