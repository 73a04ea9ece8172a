"""The tasks that fetch: as many as the plan lets start, each going on with the next URL when it is done.

Ten thousand URLs at a concurrency of 100 are 100 tasks; whatever waits is an index in the plan, and whoever
asks for what is being fetched already joins that flight.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from service.core.batch import BatchLimits, BatchState, Failure
from service.core.hosts import Hosts
from service.core.plan import FetchPlan
from service.core.retry import retry_delay, verdict
from service.core.work import Asker, Work
from service.upstream.alarm import Alarm
from service.upstream.fetcher import Fetcher
from service.upstream.flights import Flight, Flights
from service.upstream.landing import Landing
from service.upstream.measures import Measures
from service.upstream.moves import Moves
from service.upstream.orders import Fetched, Order, milliseconds, order_of

__all__ = ["Runner", "RunnerStatistics"]

_log = logging.getLogger("sluice.batches")

_LOOK_AGAIN = 0.02
"""Seconds after which a batch that was held back (credit, memory) is looked at again."""
_AT_ONCE = 300
"""URLs that join a flight or are answered from the cache in one turn of the loop: 5 and 40 us each."""

_BEGUN = 16
"""Requests that begin in one turn of the loop, 0.2 ms each where they connect: 500 would hold up everyone else."""


@dataclass(frozen=True, slots=True)
class RunnerStatistics:
    """A snapshot: requests under way and hosts in trouble now, and totals since the start."""

    active: int
    troubled: int
    attempts: int
    joined: int


class Runner:
    """Starts what the plan allows; every task is owned here and ends with :meth:`close` at the latest."""

    def __init__(self, fetcher: Fetcher, limits: BatchLimits, *, chance: Callable[[], float]) -> None:
        self.measures = Measures()
        self._fetcher = fetcher
        self._limits = limits
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._hosts = Hosts(limits.active_per_host, chance=chance)
        self._plan = FetchPlan(limits, fetcher.policy, self._hosts)
        self._moves = Moves(self._hosts, self._pump)
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._flights = Flights()
        self._landing = Landing(self._tell, lambda: self._loop.call_soon(self._pump))
        self._timer: Alarm | None = None
        self._attempts = 0
        self._joined = 0

    def __repr__(self) -> str:
        return f"<Runner {self.active} fetching, {self._plan!r}>"

    @property
    def active(self) -> int:
        """How many fetches run."""
        return len(self._tasks)

    def statistics(self) -> RunnerStatistics:
        """Return an immutable snapshot."""
        return RunnerStatistics(self.active, self._hosts.troubled, self._attempts, self._joined)

    def slow(self, share: float) -> None:
        """Give new fetches this share of their places, at least one; what runs goes on."""
        self._plan.places = max(1, round(self._limits.active * share))
        self._loop.call_soon(self._pump)

    def add(self, batch: Asker) -> None:
        """Take in a batch, or whoever else asks; its first fetch starts in the next loop turn.

        Not now: the answer to the request that began it comes first, and its reader is there by then.
        """
        self._plan.add(batch)
        self._loop.call_soon(self._pump)

    def forget(self, batch: Asker) -> None:
        """Start nothing of this batch any more."""
        self._plan.remove(batch)

    def cancel(self, batch: Asker) -> None:
        """Start nothing of this batch any more, and cancel what runs of it."""
        self._plan.remove(batch)
        for flight in tuple(self._tasks.values()):
            left = [work for work in flight.aboard if work.batch is not batch]
            if len(left) < len(flight.aboard):
                flight.aboard = left
                if not left:
                    self._abandon(flight)

    async def close(self) -> None:
        """End every task."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pump(self) -> None:
        """Start whatever may start now, and come back when something may change without our doing."""
        self._moves.look()
        for _ in range(_BEGUN):
            ready = self._next()
            if ready is None:
                self._rearm()
                return
            work = ready[0]
            task = self._loop.create_task(self._run(ready), name=f"fetch {work.batch.id}")
            self._tasks[task] = self._flights.begin(task, work)
            task.add_done_callback(self._ended)
        self._loop.call_soon(self._pump)

    def _rearm(self) -> None:
        now = self._loop.time()
        at = self._plan.wake_at(now)
        if self._plan.held:
            at = min(at or now + 1e9, now + _LOOK_AGAIN)
        if at is None:
            return
        if self._timer is not None:
            if self._timer.at <= at:
                return
            self._timer.cancel()
        self._timer = Alarm(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()

    def _next(self) -> tuple[Work, Order] | None:
        """Return what has to be fetched now, and how; whoever can join a flight does, without a task."""
        for _ in range(_AT_ONCE):
            work = self._plan.next(self._loop.time())
            if work is None:
                return None
            flight = self._flights.find(work)
            if flight is not None:
                self._join(flight, work)
                continue
            order = order_of(work)
            if not self._recall(work, order):
                return work, order
        self._loop.call_soon(self._pump)
        return None

    def _recall(self, work: Work, order: Order) -> bool:
        """Answer from the cache, if it can."""
        known = self._fetcher.recall(order)
        if known is None and order.cache != "only-if-cached":
            return False
        self._plan.free(work)
        self._plan.finished(work)
        if known is not None:
            work.batch.source.succeeded(work, known, 0.0, shared=False)
        else:
            missing = Failure("unavailable", "only-if-cached: nothing fresh is stored of it")
            work.batch.source.failed(work.batch, work.index, missing, 0, {})
        return True

    def _join(self, flight: Flight, work: Work) -> None:
        now = self._loop.time()
        self._joined += 1
        self._plan.free(work)
        work.begun = now
        work.attempts += 1
        flight.aboard.append(work)
        if work.deadline > flight.until:
            flight.until = work.deadline
            self._fetcher.prolong(flight.task, work.deadline - now)
        self._watch(flight, min(work.deadline, flight.timer.at if flight.timer else flight.holder.deadline))

    def _watch(self, flight: Flight, at: float) -> None:
        """Look at the deadlines of those aboard when the first is over; a flight of one has the fetcher's."""
        if flight.timer is not None:
            if flight.timer.at == at:
                return
            flight.timer.cancel()
        flight.timer = Alarm(at, self._expire, flight)

    def _expire(self, flight: Flight) -> None:
        flight.timer = None
        now = self._loop.time()
        late = [work for work in flight.aboard if work.deadline <= now]
        flight.aboard = [work for work in flight.aboard if work.deadline > now]
        for work in late:
            self._plan.finished(work)
            work.batch.source.failed(
                work.batch, work.index, Failure("timeout", "its time was over"), work.attempts, {}
            )
        self._loop.call_soon(self._pump)
        if not flight.aboard:
            self._abandon(flight)
        else:
            self._watch(flight, min(work.deadline for work in flight.aboard))

    def _abandon(self, flight: Flight) -> None:
        """Cancel a request that nobody waits for."""
        if flight.open:
            self._end(flight)
        flight.task.cancel()

    def _end(self, flight: Flight) -> None:
        self._flights.end(flight)
        self._plan.free(flight.holder)
        self._moves.look()

    async def _run(self, ready: tuple[Work, Order] | None) -> None:
        """Fetch one URL after another, as the plan gives them."""
        task = asyncio.current_task()
        assert task is not None
        while ready is not None:
            work, order = ready
            flight = self._tasks[task]
            if not flight.open:
                flight = self._tasks[task] = self._flights.begin(task, work)
            outcome = await self._fetch(flight, work, order)
            self._end(flight)
            for aboard in flight.aboard:
                self._plan.finished(aboard)
            self._landing.add(flight, outcome)
            ready = self._next()
        self._rearm()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the place of a task that was cancelled or failed inside; even one that never began."""
        flight = self._tasks.pop(task)
        if flight.open:
            self.measures.abandoned()
            self._end(flight)
        if not task.cancelled() and (error := task.exception()) is not None:
            first = flight.holder.batch
            told = first.correlation.told() if isinstance(first, BatchState) and first.correlation else {}
            _log.error("a fetch failed inside", exc_info=error, extra={"asker": first.id, **told})
            for work in flight.aboard:
                self._plan.finished(work)
                bug = Failure("protocol", "a bug of ours; it was logged")
                work.batch.source.failed(work.batch, work.index, bug, work.attempts, {})
        self._loop.call_soon(self._pump)

    async def _fetch(self, flight: Flight, work: Work, order: Order) -> Fetched | Failure:
        """Make one attempt."""
        self._attempts += 1
        work.begun = begun = self._loop.time()
        work.attempts += 1
        if work.attempts == 1:
            self.measures.began(begun - work.admitted)
        order.timeout = work.deadline - begun
        order.move = partial(self._moves.move, work)
        outcome = await self._fetcher.fetch(order, flight.task)
        now = self._loop.time()
        self.measures.ended(outcome, now - begun)
        said = verdict(outcome.status if isinstance(outcome, Fetched) else outcome, now - begun)
        if said is not None and not (isinstance(outcome, Fetched) and outcome.cache == "hit"):
            # Of the host that was asked last: a redirect to a dead host says nothing of who sent it.
            self._hosts.heard(order.target.origin, said, begun, now, outcome.retry_after)
        return outcome

    def _tell(self, work: Work, outcome: Fetched | Failure, shared: bool) -> None:
        """Have the attempt made again, or tell its outcome."""
        now, options = self._loop.time(), work.batch.options
        delay = retry_delay(
            work.request.method or options.method,
            outcome.status if isinstance(outcome, Fetched) else outcome,
            attempts=work.attempts,
            retries=options.retries,
            retry_after=outcome.retry_after,
            chance=self._chance(),
        )
        if delay is not None and now + delay < work.deadline and self._hosts.may_retry(work.target.origin):
            self._plan.later(work, now + delay)
            self._rearm()
        elif isinstance(outcome, Failure):
            timing = {
                "queued": milliseconds(work.begun - work.admitted),
                "total": milliseconds(now - work.admitted),
            }
            work.batch.source.failed(work.batch, work.index, outcome, work.attempts, timing)
        else:
            work.batch.source.succeeded(work, outcome, work.begun - work.admitted, shared=shared)
