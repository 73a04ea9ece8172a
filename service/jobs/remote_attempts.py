"""Attempts that workers elsewhere make: offered through a broker, claimed and reported on over HTTP.

Theory of operation. A job that is due is offered: a task with a token of its own goes to the broker
(``broker.py``), and the job stays queued. The first act of a worker is to claim the attempt: that begins it, and is
stored with the digest of the token (``core/jobs/lease.py``), so that the attempt goes on over a restart of the
service. From then on the worker reports, each event with its number; a report without events is a heartbeat. A
worker that is not heard of loses the attempt, and the job is offered again. What the broker does with a task
hardly matters: one that is lost is offered again after a time, and one that comes twice, or late, is refused.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

import msgspec

from service.core.errors import Draining, LimitReached
from service.core.jobs.events import Event, ProgressEvent
from service.core.jobs.job import MOST_EVENTS, Job
from service.core.jobs.lease import LEASE, Lease, Leases, NotYours, digest_of
from service.core.jobs.reports import (
    Claim,
    Claimed,
    Report,
    Reported,
    WorkerDone,
    WorkerEvent,
    WorkerFailed,
    WorkerProgress,
    WorkerStopped,
)
from service.core.jobs.request import RunWork
from service.core.jobs.summary import JobState
from service.jobs.broker import Broker, Dispatch
from service.jobs.executor import AttemptFailed, Executor
from service.jobs.offers import Offers
from service.jobs.outcomes import AttemptOutcomes
from service.jobs.updates import JobUpdates
from service.runtime.timer import Periodic

__all__ = ["HEARTBEAT", "RemoteAttempts"]

_log = logging.getLogger("sluice.jobs")

HEARTBEAT: Final = 3.0
"""Seconds between two reports of a worker."""
_INTERVAL: Final = 1.0
_SILENT: Final = f"its worker was not heard of for {LEASE} s"


class RemoteAttempts:
    """All attempts of one kind of job that are offered or made elsewhere."""

    def __init__(
        self, updates: JobUpdates, executor: Executor, broker: Broker, outcomes: AttemptOutcomes,
        find: Callable[[str], Awaitable[Job]], on_due: Callable[[], None],
        keep_up: Callable[[Coroutine[Any, Any, object]], None],
    ) -> None:  # fmt: skip
        self.dispatch = Dispatch(broker)
        self.offers = Offers(updates, self.dispatch, outcomes)
        self.claims: Counter[str] = Counter()
        """Claims that were granted or refused."""
        self.lost = 0
        """Leases that ran out."""
        self.draining = False
        self._broker = broker
        self._updates = updates
        self._executor = executor
        self._outcomes = outcomes
        self._find = find
        self._on_due = on_due
        self._keep_up = keep_up
        self._leases = Leases()
        self._timer = Periodic("leases", _INTERVAL, self._lose_silent)

    def __repr__(self) -> str:
        return f"<RemoteAttempts: {len(self.offers)} offered, {self.running} run>"

    @property
    def running(self) -> int:
        """How many workers make."""
        return len(self._leases)

    def restore(self, rows: Iterable[int]) -> None:
        """Go on with attempts at a start of the service: their workers come back."""
        for row in rows:
            self._leases.restore(row)
        self._timer.start()

    def drain(self) -> None:
        """Withdraw all offers, and have nothing more claimed; what workers make goes on."""
        self.draining = True
        self.offers.withdraw_all()

    async def claim(self, job_id: str, attempt: int, token: str, claim: Claim) -> Claimed:
        """Have a worker make an attempt; raise NotYours where it is not to."""
        job = await self._find(job_id)
        digest, began = digest_of(token), False

        def step(job: Job) -> Event | None:
            nonlocal began
            if job.lease is not None and job.lease.claim == claim.claim:
                job.lease.check(digest)
                return None
            self._check_offer(job, digest, attempt)
            began = True
            return job.begin(claim.worker, Lease(digest, claim.claim))

        try:
            job = await self._updates.change(job.row, step)
        except NotYours:
            self.claims["refused"] += 1
            raise
        self._leases.renew(job.row)
        self._timer.start()
        if began:
            self.claims["granted"] += 1
            self._outcomes.count_start(job)
            self.offers.withdraw(job.row)
        return self._claimed(job)

    def _check_offer(self, job: Job, digest: str, attempt: int) -> None:
        if job.state is JobState.RUNNING:
            raise NotYours("the attempt is made by another worker")
        if not self._outcomes.is_due(job):
            raise NotYours(f"the job is {job.state} and must not begin now")
        if self.draining:
            raise Draining("the service is shutting down")
        self.offers.check(job.row, digest, attempt)

    def _claimed(self, job: Job) -> Claimed:
        work = msgspec.json.decode(job.work, type=RunWork)
        seconds = job.time(self._executor.time(job))
        return Claimed(job.id, job.attempt, job.effect_key, work.name, work.args, seconds, HEARTBEAT)

    async def report(self, job_id: str, attempt: int, token: str, report: Report) -> Reported:
        """Record what a worker reports; raise NotYours if the attempt is no longer its own."""
        job, digest = await self._find(job_id), digest_of(token)
        _check_lease(job, digest, attempt)
        self._leases.renew(job.row)  # before the store is asked: it may take its time
        reached = 0

        def step(job: Job) -> list[Event]:
            nonlocal reached
            lease = _check_lease(job, digest, attempt)
            said, reached = self._apply_new(job, lease, report)
            return said

        job = await self._updates.change(job.row, step)
        if job.lease is None:
            self._leases.end(job.row)
            self._outcomes.count_end(job)
            self._on_due()
        return Reported(reached + 1, job.stopping)

    def _apply_new(self, job: Job, lease: Lease, report: Report) -> tuple[list[Event], int]:
        """Apply the events that are new and follow on what is there; return what to say, and how far that goes."""
        reached, said = lease.events, list[Event]()
        for number, event in enumerate(report.events, start=report.first):
            if number != reached + 1 or job.lease is None:
                continue
            reached = number
            said.extend(self._apply(job, event))
        if job.lease is not None and reached != lease.events:
            job.lease = msgspec.structs.replace(lease, events=reached)
        return said, reached

    def _apply(self, job: Job, event: WorkerEvent) -> list[Event]:
        if isinstance(event, WorkerProgress):
            return self._progress(job, event)
        job.output = event.output
        return [self._end(job, event)]

    def _progress(self, job: Job, event: WorkerProgress) -> list[Event]:
        if job.head >= MOST_EVENTS:
            return []
        try:
            self._updates.check_room(job)
        except LimitReached as error:
            _log.warning("progress of a job was not stored", extra={"why": error.detail})
            return []
        return [job.progress(ProgressEvent(event.done, event.total, event.message, event.data))]

    def _end(self, job: Job, event: WorkerDone | WorkerFailed | WorkerStopped) -> Event:
        if isinstance(event, WorkerDone):
            return self._outcomes.succeeded(bytes(event.result), job)
        if isinstance(event, WorkerFailed):
            failure = AttemptFailed(event.error, event.detail, again=event.again, after=event.after)
            return self._outcomes.failed(self._executor.retries(job), failure, job)
        # Asked for by a cancel, or by the end of its worker.
        return self._outcomes.lost("its worker has ended", job)

    def _lose_silent(self) -> float | None:
        """Lose the attempts whose workers are silent."""
        for row in self._leases.expire():
            self._keep_up(self._lose(row))
        return _INTERVAL if self._leases else None

    async def _lose(self, row: int) -> None:
        lost = False

        def step(job: Job) -> Event | None:
            nonlocal lost
            lost = row not in self._leases and job.lease is not None  # else it was heard of meanwhile
            return self._outcomes.lost(_SILENT, job) if lost else None

        job = await self._updates.change(row, step, lasting=True)
        if lost:
            self.lost += 1
            self._outcomes.count_end(job)
            _log.warning("a worker was not heard of, and its attempt is lost", extra={"job": repr(job)})
            self._on_due()

    def close(self) -> None:
        """Lose no more attempts, and end the connections to the broker."""
        self._timer.stop()
        self._broker.close()


def _check_lease(job: Job, digest: str, attempt: int) -> Lease:
    if job.lease is None or job.attempt != attempt:
        raise NotYours("the attempt is over: it has ended, or was lost")
    job.lease.check(digest)
    return job.lease
