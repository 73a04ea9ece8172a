"""Changes of jobs: one at a time for each job, and stored before anyone is notified."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from service.core.errors import NotFound, SluiceError, StorageFailed
from service.core.jobs.agenda import Agenda
from service.core.jobs.events import Event
from service.core.jobs.job import Job
from service.core.jobs.store import JobStore
from service.core.jobs.summary import JobState
from service.core.pool import Pool
from service.jobs.job_topics import JobTopics
from service.jobs.named_locks import NamedLocks
from service.jobs.times import encode_event
from service.runtime.awaiting import outcome_of
from service.runtime.containment import report_failure

__all__ = ["JobChange", "JobUpdates"]

_AGAIN: Final = 0.5
"""Seconds after which what could not be stored is tried again."""

_Stored = Callable[[Job], object]
JobChange = Callable[[Job], Event | Sequence[Event] | None]
"""Changes a job, and returns what is to be said of that."""


def _nothing(job: Job) -> None:
    """Nobody waits for it."""


class JobUpdates:
    """Reads jobs, changes them, stores them, and brings their events to those who read them."""

    def __init__(self, store: JobStore, agenda: Agenda, topics: JobTopics, pool: Pool) -> None:
        self._store = store
        self._agenda = agenda
        self._topics = topics
        self._pool = pool
        self._locks = NamedLocks()
        self._tasks: set[asyncio.Task[Job]] = set()

    def __repr__(self) -> str:
        return f"<JobUpdates of {len(self._locks)} jobs>"

    async def read(self, row: int) -> Job:
        """Return a copy of a job; raise NotFound."""
        if row not in self._agenda:
            raise NotFound("the job does not exist or has expired")
        return msgspec.structs.replace(await outcome_of(self._store.get(row)))

    async def add(self, job: Job, said: Sequence[Event], stored: _Stored = _nothing) -> Job:
        """Store a new job; raise StorageFailed."""
        # At once: the next one may come before this is stored.
        self._count(job, job.held)
        return await self._whole(self._add(job, said, stored))

    async def _add(self, job: Job, said: Sequence[Event], stored: _Stored) -> Job:
        held = job.held
        try:
            return await self._put(job, said, stored, held)
        except BaseException:
            self._count(job, -held)
            raise

    async def change(self, row: int, step: JobChange, stored: _Stored = _nothing, *, lasting: bool = False) -> Job:
        """Change a job by a step of its life; return what it has become.

        ``stored`` is called with it before any reader hears of it: an answer comes first.

        What the step raises goes on to the caller. Raises NotFound, and StorageFailed: one that is ``lasting`` is
        tried again instead until it is stored. Where the caller is cancelled the change goes on.
        """
        return await self._whole(self._change(row, step, stored, lasting))

    async def _whole(self, change: Coroutine[Any, Any, Job]) -> Job:
        """Carry a change out to its end, even if its caller stops waiting."""
        task = asyncio.get_running_loop().create_task(change, name="job change")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_ended_alone)
            raise

    async def _change(self, row: int, step: JobChange, stored: _Stored, lasting: bool) -> Job:
        while True:
            try:
                # Other changes have turns between two tries: a cancel is refused at once while nothing can be
                # stored.
                async with self._locks.of(row):
                    return await self._step(row, step, stored)
            except StorageFailed:
                if not lasting:
                    raise
            await asyncio.sleep(_AGAIN)

    async def _step(self, row: int, step: JobChange, stored: _Stored) -> Job:
        job = await self.read(row)
        before = msgspec.structs.replace(job)
        said = step(job)
        if not said and job == before:
            stored(job)
            return job
        return await self._put(job, said, stored, before.held)

    async def schedule(self, row: int) -> None:
        """Have a job begin when it is due, though it was taken out of the agenda for that before."""
        async with self._locks.of(row):
            job = await self.read(row)
            if job.state is JobState.SCHEDULED:
                self._agenda.put(job)

    async def drop(self, row: int) -> Job | None:
        """Forget a job that has ended; return what it was, or None where it is to be kept, or gone already."""
        async with self._locks.of(row):
            if row not in self._agenda:
                return None
            job = await self.read(row)
            if not job.state.ended:
                return None
            self._agenda.remove(row)
            self._store.drop(row, job.head)
            self._count(job, -job.held)
            self._topics.forget(job)
            return job

    async def _put(self, job: Job, said: Event | Sequence[Event] | None, stored: _Stored, held: int) -> Job:
        """Store a changed job, which has counted for ``held`` bytes until now."""
        events = _encoded(said)
        job.size += sum(map(len, events))
        more = job.held - held
        self._count(job, more)
        try:
            await outcome_of(self._store.put(job, events) or job)
        except BaseException:
            self._count(job, -more)
            raise
        self._agenda.put(job)
        stored(job)
        self._topics.publish(job, events)
        return job

    def check_room(self, job: Job) -> None:
        """Raise LimitReached where the owner of a job has no room for more events of it."""
        self._pool.check(job.belongs_to())

    def _count(self, job: Job, more: int) -> None:
        owner = job.belongs_to()
        if more > 0:
            self._pool.charge(owner, more)
        else:
            self._pool.release(owner, -more)

    async def close(self) -> None:
        """Cancel the changes that still wait for the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _ended_alone(task: asyncio.Task[Job]) -> None:
    """Report a bug that no caller waits for any more; a refusal needs no report."""
    if task.cancelled() or not isinstance(task.exception(), SluiceError):
        report_failure("a change of a job failed", task)


def _encoded(said: Event | Sequence[Event] | None) -> list[bytes]:
    if said is None:
        return []
    return [encode_event(event) for event in (said if isinstance(said, Sequence) else (said,))]
