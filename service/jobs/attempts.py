"""Attempts: from the moment a job is due to the moment at which its outcome is stored."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from service.core.errors import NotFound, SluiceError
from service.core.histogram import Histogram
from service.core.jobs.events import Event, Progress
from service.core.jobs.job import MOST_EVENTS, Job, JobState
from service.core.jobs.request import Kind
from service.jobs.changes import Changes
from service.jobs.executor import Attempt, AttemptFailed, AttemptLost, Executor

__all__ = ["Attempts"]

_log = logging.getLogger("sluice.jobs")

_EARLY: Final = 0.001
"""Seconds: the agenda has whole milliseconds."""
_LATENESS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
_ENDED: Final = "the service ended during the attempt"
_DAMAGED: Final = "what it was to do is damaged on disk"


class NotDue(Exception):
    """The job was moved, cancelled or begun meanwhile."""


class Attempts:
    """Carries jobs out; ``wall`` is the time since 1970, ``chance`` a random number from 0 to 1."""

    def __init__(
        self, changes: Changes, executors: Mapping[Kind, Executor], *,
        wall: Callable[[], float], chance: Callable[[], float],
    ) -> None:  # fmt: skip
        self._changes = changes
        self._executors = executors
        self._wall = wall
        self._chance = chance
        self.outcomes: Counter[tuple[Kind, str]] = Counter()
        """Attempts that ended, by kind and the state or the error that followed."""
        self.lateness = Histogram(_LATENESS)
        """Seconds from the time at which a job is due to its start."""

    def __repr__(self) -> str:
        return f"<Attempts of {', '.join(self._executors)}>"

    async def carry_out(self, kind: Kind, row: int, worked: Callable[[], None]) -> None:
        """Make one attempt of a job, if it is due; ``worked`` is called when its work is over."""
        executor = self._executors[kind]
        try:
            job = await self._changes.change(row, partial(self._begin, executor), lasting=True)
        except NotFound:
            return
        except NotDue:
            await self._changes.schedule(row)
            return
        self.lateness.observe(max(0.0, self._wall() - job.due))
        attempt = Attempt(job, partial(self._progress, job.row))
        if bytes(job.work):
            step = await self._outcome(executor, attempt)
        else:
            step = partial(self._failed, executor, AttemptFailed("storage", _DAMAGED, again=False))

        def end(job: Job) -> Event:
            job.output = attempt.output
            return step(job)

        worked()
        job = await self._changes.change(row, end, lasting=True)
        self.outcomes[kind, "retry" if job.state is JobState.SCHEDULED else job.state] += 1

    async def lose(self, row: int) -> None:
        """End an attempt under which the service has ended."""
        await self._changes.change(row, partial(self._lost, _ENDED), lasting=True)

    def _begin(self, executor: Executor, job: Job) -> Event:
        if job.state is not JobState.SCHEDULED or job.due > self._wall() + _EARLY:
            raise NotDue
        return job.begin(executor.worker)

    async def _outcome(self, executor: Executor, attempt: Attempt) -> Callable[[Job], Event]:
        """Have the work carried out; return what is to be done with the job then."""
        job = attempt.job
        seconds = job.time(executor.time(job))
        try:
            async with asyncio.timeout(seconds):
                return partial(self._succeeded, await executor.carry_out(attempt))
        except asyncio.CancelledError:
            # A cancel has marked the job before; else the service ends, and the next start finds it running.
            if not (await self._changes.read(job.row)).stopping:
                raise
            return self._stopped
        except TimeoutError:
            return partial(self._failed, executor, AttemptFailed("timeout", f"took longer than {seconds:g} s"))
        except AttemptLost as error:
            return partial(self._lost, str(error))
        except AttemptFailed as error:
            return partial(self._failed, executor, error)
        except SluiceError as error:
            return partial(self._failed, executor, AttemptFailed(error.reason, error.detail, again=error.temporary))
        except Exception as error:
            _log.exception("unhandled exception in a job", extra={"job": repr(job)})
            return partial(self._failed, executor, AttemptFailed("exception", f"a bug of ours: {error!r}"[:200]))

    async def _progress(self, row: int, progress: Progress) -> None:
        """Store what an attempt says, and bring it to those who read the job."""

        def step(job: Job) -> Event | None:
            if job.state is not JobState.RUNNING or job.head >= MOST_EVENTS:
                return None
            self._changes.check_room(job)
            return job.progress(progress)

        try:
            await self._changes.change(row, step)
        except SluiceError as error:
            _log.warning("progress of a job was not stored", extra={"why": error.detail})

    def _stopped(self, job: Job) -> Event:
        return job.stopped(self._wall())

    def _succeeded(self, result: bytes, job: Job) -> Event:
        return self._stopped(job) if job.stopping else job.succeed(msgspec.Raw(result), self._wall())

    def _failed(self, executor: Executor, error: AttemptFailed, job: Job) -> Event:
        if job.stopping:
            return self._stopped(job)
        retries = job.allowed_retries(executor.retries(job)) if error.again else None
        return job.fail(
            error.error, error.detail, self._wall(), retries=retries, chance=self._chance(), after=error.after
        )

    def _lost(self, detail: str, job: Job) -> Event:
        return self._stopped(job) if job.stopping else job.lose(detail, self._wall())
