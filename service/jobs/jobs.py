"""Jobs: accepted, begun when they are due, carried out, and kept until their outcome has been seen.

Theory of operation. A job is stored before it is acknowledged, and each event before anybody hears of it
(``updates.py``). What is due is in the agenda (``core/jobs/agenda.py``) by wall time, which is looked at once a
second at least, so that a clock that is set counts. A lane for each kind begins what is due, owners by turns
(``schedule.py``). An attempt (``attempts.py``) is a task that stores ``started``, has the kind's executor carry the
work out, and stores how that ended. An attempt under which the service ended is found at the next start, and lost.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from hashlib import sha256
from secrets import compare_digest, token_hex
from typing import Any, Final, TypeVar

import msgspec

from service.core.access.grants import Grant
from service.core.errors import Draining, InvalidParams, NotFound
from service.core.jobs.events import Event
from service.core.jobs.job import Job
from service.core.jobs.request import JobRequest, Kind, MoveRequest, RunWork, Work, check_size, kind_of
from service.core.jobs.store import JobStore
from service.core.jobs.summary import OVERHEAD, JobState
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pool import FOUR_FIFTHS, Pool
from service.core.topics.hub import Hub
from service.core.topics.topic import Topic
from service.jobs.attempts import LocalAttempts
from service.jobs.broker import Broker
from service.jobs.executor import Executor
from service.jobs.figures import JobLimits
from service.jobs.job_topics import PREFIX, JobTopics
from service.jobs.lanes import Begin
from service.jobs.listing import list_jobs
from service.jobs.named_locks import NamedLocks
from service.jobs.offers import OFFERED
from service.jobs.outcomes import AttemptOutcomes
from service.jobs.remote_attempts import RemoteAttempts
from service.jobs.schedule import JobSchedule
from service.jobs.statistics import JobStatistics, statistics_of
from service.jobs.times import due_of
from service.jobs.updates import JobUpdates
from service.runtime.containment import report_failure

__all__ = ["Jobs"]

T = TypeVar("T")
_log = logging.getLogger("sluice.jobs")
_ID: Final = re.compile(r"([0-9a-f]{1,10})-[0-9a-f]{32}")


def _nothing(value: object) -> None:
    """Nobody waits for it."""


class Jobs:
    """All jobs; ``wall`` is the time since 1970, ``chance`` a random number from 0 to 1."""

    def __init__(
        self, hub: Hub, store: JobStore, executors: Mapping[Kind, Executor], limits: JobLimits, *,
        chance: Callable[[], float], wall: Callable[[], float] = time.time, broker: Broker | None = None,
    ) -> None:  # fmt: skip
        self.draining = False
        self._kept = store.kept()
        self.agenda = self._kept.agenda
        self.pool = Pool("jobs", limits.jobs_size, eager=FOUR_FIFTHS, advice="some have to end, and be forgotten")
        """Bytes of all that are kept."""
        self._executors = executors
        self._limits = limits
        self._store = store
        self._topics = JobTopics(hub, store)
        self._updates = JobUpdates(store, self.agenda, self._topics, self.pool)
        self._outcomes = AttemptOutcomes(wall, chance)
        self._attempts = LocalAttempts(self._updates, executors, self._outcomes)
        begin: dict[Kind, tuple[int, Begin]] = {
            kind: (one.places, self._attempts.carry_out) for kind, one in executors.items()
        }
        self.remote = None if broker is None else RemoteAttempts(
            self._updates, executors["run"], broker, self._outcomes, self.find,
            lambda: self.schedule.wake(), self.keep_up,
        )  # fmt: skip
        if self.remote is not None:
            begin["run"] = OFFERED, self.remote.offers.offer
        self._withdraw = _nothing if self.remote is None else self.remote.offers.withdraw
        self.schedule = JobSchedule(self.agenda, begin, lambda row: self.keep_up(self._forget(row)), wall)
        self._keys = self._kept.keys
        self._keys_begun = NamedLocks()
        self.wall = wall
        self._tasks: set[asyncio.Task[Any]] = set()
        hub.openers["job"] = self._open

    def __repr__(self) -> str:
        return f"<Jobs {self.agenda!r}>"

    @property
    def durable(self) -> bool:
        """Whether jobs outlive the process."""
        return self._store.durable

    def statistics(self) -> JobStatistics:
        """Return a snapshot."""
        return statistics_of(self.agenda, self.schedule, self._outcomes, self.remote)

    @property
    def running(self) -> int:
        """How many run."""
        return self.schedule.running

    def drain(self) -> None:
        """Accept and begin no more jobs; running attempts go on until :meth:`close`."""
        self.draining = True
        self.schedule.pause()
        if self.remote is not None:
            self.remote.drain()

    async def open(self) -> None:
        """Go on with all that is kept, and begin what is due."""
        for owner, size in self._kept.held.items():
            self.pool.charge(owner, size)
        if self.remote is not None:
            self.remote.restore(self._kept.leased)
        for row in self._kept.running + (self._kept.leased if self.remote is None else []):
            self.keep_up(self._attempts.lose(row))
        counts = self.agenda.counts.items()
        if waiting := sum(n for (kind, state), n in counts if kind not in self._executors and not state.ended):
            _log.warning("jobs cannot begin without --jobs, and wait", extra={"jobs": waiting})
        self.schedule.wake()

    async def accept(
        self, request: JobRequest, owner: Owner, grant: Grant, stored: Callable[[Job], object] = _nothing
    ) -> tuple[Job, bool]:
        """Store a job; return it, and whether it is a new one: the same key of one owner makes one.

        ``stored`` is called with a new one before anybody hears of what it does.

        Raises SluiceError to refuse it; InvalidParams also where the key came with another request.
        """
        kind, work = kind_of(request)
        grant.jobs.check(kind, work.name if isinstance(work, RunWork) else None)
        digest = sha256(msgspec.json.encode(request, order="sorted")).hexdigest()
        if request.key is None:
            return await self._add(request, kind, work, digest, owner, grant, stored), True
        async with self._keys_begun.of((owner, request.key)):
            before = await self._find(owner, request.key)
            if before is None:
                return await self._add(request, kind, work, digest, owner, grant, stored), True
        if before.digest != digest:
            raise InvalidParams("key: was used with another request")
        return before, False

    async def _find(self, owner: Owner, key: str) -> Job | None:
        """Return the owner's job with this key."""
        for row in self._keys.rows(owner, key):
            job = await self._updates.read(row) if row in self.agenda else None
            if job is not None and (job.owner[0], job.key) == (owner, key):
                return job
        return None

    async def _add(
        self, request: JobRequest, kind: Kind, work: Work, digest: str, owner: Owner, grant: Grant,
        stored: Callable[[Job], object],
    ) -> Job:  # fmt: skip
        if self.draining:
            raise Draining("the service is shutting down")
        executor = self._executors.get(kind)
        if executor is None:
            raise NotFound(f"{kind}: this service has no functions; its operator adds them with --jobs MODULE")
        now = self.wall()
        due = due_of(request, now)
        granted = executor.check(work, grant)
        encoded = msgspec.json.encode(work)
        check_size(len(encoded), self._limits.job_size)
        self.pool.check(owner, OVERHEAD + len(encoded))
        row = self._store.new_row()
        job = Job(
            id=f"{row:x}-{token_hex(16)}", row=row, epoch=token_hex(8), kind=kind, created=now, due=due,
            owner=(str(owner), owner.weight, owner.shares_fetches), keep=request.keep,
            work=msgspec.Raw(encoded), grant=msgspec.Raw(msgspec.json.encode(granted)), size=len(encoded),
            key=request.key, digest=digest, retries=request.retries, timeout=request.timeout,
        )  # fmt: skip

        def kept(job: Job) -> None:
            self._keys.put(job)
            self.schedule.wake()  # not after the commit: the caller may have gone by then
            stored(job)

        elsewhere = kind == "run" and self.remote is not None
        lane = None if elsewhere or due > now else self.schedule.reserve(kind, row, owner)
        return await self._attempts.accept(job, lane, kept)

    async def find(self, job_id: str) -> Job:
        """Return a job, or raise NotFound."""
        found = _ID.fullmatch(job_id)
        job = await self._updates.read(int(found[1], 16)) if found else None
        if job is None or not compare_digest(job.id, job_id):
            raise NotFound("the job does not exist or has expired")
        return job

    async def topic(self, job_id: str, owner: Owner) -> Topic:
        """Return the topic of a job for a reader."""
        return self._topics.open(await self.find(job_id), owner)

    def _open(self, name: str, owner: Owner) -> Pending[Topic]:
        return self.answer(lambda _: self.topic(name.removeprefix(PREFIX), owner))

    def answer(self, work: Callable[[Callable[[T], object]], Coroutine[Any, Any, T]]) -> Pending[T]:
        """Have something carried out for one who does not wait.

        ``work`` may call what it is given with its value, before it returns that: so an answer comes first.
        """
        answer: Pending[T] = Pending()

        async def carry_out() -> None:
            try:
                outcome: T | Exception = await work(answer.settle)
            except Exception as error:
                outcome = error
            if not answer.known:
                answer.settle(outcome)

        self.keep_up(carry_out())
        return answer

    async def cancel(
        self, job_id: str, stored: Callable[[tuple[bool, JobState]], object] = _nothing
    ) -> tuple[bool, JobState]:
        """Have a job never run, or stop; return whether it had not ended, and its state.

        ``stored`` is called with that before anybody hears of it.
        """
        row = (await self.find(job_id)).row
        ended = asked = False

        def step(job: Job) -> Event | None:
            nonlocal ended, asked
            ended, asked = job.state.ended, job.stopping
            return job.cancel(self.wall())

        job = await self._updates.change(row, step, lambda job: stored((not ended, job.state)))
        self._withdraw(row)
        if job.stopping and not asked:  # again would cut the function's time to stop short
            self.schedule.stop(job.kind, row)
        return not ended, job.state

    async def move(self, job_id: str, request: MoveRequest) -> Job:
        """Have a job run at another time, or once more where it failed or was cancelled."""
        if request.at is None and request.delay is None:
            raise InvalidParams("delay, at: give one of them")
        job = await self.find(job_id)
        due = due_of(request, self.wall())
        job = await self._updates.change(job.row, lambda job: job.move(due))
        self._withdraw(job.row)
        self.schedule.wake()
        return job

    async def listed(
        self, owner: Owner, state: JobState | None, limit: int, before: int | None
    ) -> tuple[list[Job], int | None]:
        """Return jobs of an owner, the newest first, and the row from which to go on; None at the end."""
        end = self._store.last_row + 1
        start = end if before is None else min(before, end)
        return await list_jobs(
            self.agenda, self._updates.read, owner=owner, state=state, limit=limit, before=start, now=self.wall()
        )

    async def _forget(self, row: int) -> None:
        job = await self._updates.drop(row)
        if job is not None:
            self._keys.forget(job)

    def keep_up(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine in the background; it is cancelled when the service ends."""
        task = asyncio.get_running_loop().create_task(work, name="job")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        report_failure("a job could not be kept up", task)

    async def close(self) -> None:
        """Cancel running attempts, which the next start finds, and begin no others."""
        self.drain()
        await self.schedule.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.remote is not None:
            self.remote.close()
        await self._updates.close()
