"""Attempts: from the moment a job is due to the moment at which its outcome is stored."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from service.core.errors import NotFound, SluiceError
from service.core.jobs.events import Event, ProgressEvent
from service.core.jobs.job import MOST_EVENTS, Job
from service.core.jobs.request import Kind
from service.core.jobs.summary import JobState
from service.jobs.executor import AttemptFailed, AttemptLost, Executor, JobAttempt
from service.jobs.lanes import Lane
from service.jobs.outcomes import DAMAGED, AttemptOutcomes
from service.jobs.updates import JobUpdates
from service.runtime.running_time import running_timeout

__all__ = ["LocalAttempts"]

_log = logging.getLogger("sluice.jobs")

_ENDED: Final = "the service ended during the attempt"


class NotDue(Exception):
    """The job was moved, cancelled or begun meanwhile."""


class LocalAttempts:
    """Carries jobs out in this process, or below it."""

    def __init__(self, updates: JobUpdates, executors: Mapping[Kind, Executor], outcomes: AttemptOutcomes) -> None:
        self._updates = updates
        self._executors = executors
        self._outcomes = outcomes

    def __repr__(self) -> str:
        return f"<LocalAttempts of {', '.join(self._executors)}>"

    async def accept(self, job: Job, lane: Lane | None, stored: Callable[[Job], object]) -> Job:
        """Store a new job; if it has a place in a lane, its first attempt begins with the same commit.

        Returns the job as it was accepted, before it began; ``stored`` gets that job before readers get its events.
        """
        said = [job.accept()]
        accepted = msgspec.structs.replace(job)
        if lane is None:
            return await self._updates.add(job, said, stored)
        said.append(self._begin(job))

        def kept(job: Job) -> None:
            lane.start(job.row, partial(self._make, job))
            stored(accepted)

        try:
            await self._updates.add(job, said, kept)
        except BaseException:
            lane.free(job.row)
            raise
        return accepted

    async def carry_out(self, row: int, worked: Callable[[], None]) -> None:
        """Make one attempt of a job, if it is due; ``worked`` is called when its work is over."""
        try:
            job = await self._updates.change(row, self._begin_due, lasting=True)
        except NotFound:
            return
        except NotDue:
            await self._updates.schedule(row)
            return
        if job.state is JobState.RUNNING:
            await self._make(job, worked)

    def _begin(self, job: Job) -> Event:
        return job.begin(self._executors[job.kind].worker)

    async def _make(self, job: Job, worked: Callable[[], None]) -> None:
        """Make the attempt that has begun."""
        executor = self._executors[job.kind]
        self._outcomes.count_start(job)
        attempt = JobAttempt(job, partial(self._progress, job.row))
        if bytes(job.work):
            step = await self._outcome(executor, attempt)
        else:
            step = partial(self._outcomes.failed, None, DAMAGED)

        def end(job: Job) -> Event:
            job.output = attempt.output
            return step(job)

        worked()
        self._outcomes.count_end(await self._updates.change(job.row, end, lasting=True))

    async def lose(self, row: int) -> None:
        """End an attempt under which the service has ended."""
        await self._updates.change(row, partial(self._outcomes.lost, _ENDED), lasting=True)

    def _begin_due(self, job: Job) -> Event:
        if job.state is JobState.RUNNING:
            # A job whose attempt is being made does not get here.
            return self._outcomes.lost("a bug has ended the attempt", job)
        if not self._outcomes.is_due(job):
            raise NotDue
        return self._begin(job)

    async def _outcome(self, executor: Executor, attempt: JobAttempt) -> Callable[[Job], Event]:
        """Have the work carried out; return what is to be done with the job then."""
        job, outcomes = attempt.job, self._outcomes
        failed = partial(outcomes.failed, executor.retries(job))
        seconds = job.time(executor.time(job))
        try:
            async with running_timeout(seconds) as timer:
                return partial(outcomes.succeeded, await executor.carry_out(attempt))
        except asyncio.CancelledError:
            # A cancel has marked the job before; else the service ends, and the next start finds it running.
            if not (await self._updates.read(job.row)).stopping:
                raise
            return outcomes.stopped
        except AttemptLost as error:
            return partial(outcomes.lost, str(error))
        except AttemptFailed as error:
            return partial(failed, error)
        except SluiceError as error:
            return partial(failed, AttemptFailed(error.reason, error.detail, again=error.temporary))
        except Exception as error:
            if isinstance(error, TimeoutError) and timer.expired():
                return partial(failed, AttemptFailed("timeout", f"took longer than {seconds:g} s"))
            _log.exception("unhandled exception in a job", extra={"job": repr(job)})
            return partial(failed, AttemptFailed("exception", f"a bug in sluice: {error!r}"[:200]))

    async def _progress(self, row: int, progress: ProgressEvent) -> None:
        """Store what an attempt says, and bring it to those who read the job."""

        def step(job: Job) -> Event | None:
            if job.state is not JobState.RUNNING or job.head >= MOST_EVENTS:
                return None
            self._updates.check_room(job)
            return job.progress(progress)

        try:
            await self._updates.change(row, step)
        except SluiceError as error:
            _log.warning("progress of a job was not stored", extra={"why": error.detail})
