"""The tasks that fetch: as many as the plan lets start, each going on with the next URL when it is done.

Ten thousand URLs at a concurrency of 100 are 100 tasks; whatever waits is an index in the plan, and whoever
asks for what is being fetched already joins that flight.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from service.core.batch import BatchLimits, BatchState, Failure
from service.core.hosts import Hosts
from service.core.plan import FetchPlan, Work
from service.core.retry import retry_delay, verdict
from service.upstream.fetcher import Fetched, Fetcher, Order
from service.upstream.flights import Flight, Flights

__all__ = ["Outcomes", "Runner"]

_log = logging.getLogger("sluice.batches")

_LOOK_AGAIN = 0.02
"""Seconds after which a batch that was held back (credit, memory) is looked at again."""
_EVENT = 300
"""Bytes of an event without its body, about."""
_JOINS = 500
_SLICE = 200
"""Askers that join a flight, and that are told of its outcome, in one turn of the loop: 5 and 15 us each."""


class Outcomes(Protocol):
    """Who is asked whether a batch may go on, and told what came of each URL."""

    def may_start(self, batch: BatchState) -> bool:
        """Whether the batch may start one more fetch now."""
        ...

    def succeeded(self, work: Work, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Take an answer; ``queued`` is in seconds, ``shared`` says that another asker's request brought it."""
        ...

    def failed(
        self, batch: BatchState, index: int, failure: Failure, attempts: int, timing: dict[str, float]
    ) -> None:
        """Take a failure; the times are in milliseconds."""
        ...


class Runner:
    """Starts what the plan allows; every task is owned here and ends with :meth:`close` at the latest."""

    def __init__(
        self, fetcher: Fetcher, limits: BatchLimits, outcomes: Outcomes, *, chance: Callable[[], float]
    ) -> None:
        self._fetcher = fetcher
        self._outcomes = outcomes
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._hosts = Hosts(limits.active_per_host, chance=chance)
        self._plan = FetchPlan(limits, fetcher.policy, self._hosts, self._reject)
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._flights = Flights()
        self._landed: list[tuple[Flight, Fetched | Failure]] = []
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Runner {self.active} fetching, {self._plan!r}>"

    @property
    def active(self) -> int:
        """How many fetches run."""
        return len(self._tasks)

    def add(self, batch: BatchState) -> None:
        """Take in a batch; its first fetch starts in the next loop turn.

        Not now: the answer to the request that began it comes first, and its reader is there by then.
        """
        self._plan.add(batch)
        self._loop.call_soon(self._pump)

    def forget(self, batch: BatchState) -> None:
        """Start nothing of this batch any more."""
        self._plan.remove(batch)

    def cancel(self, batch: BatchState) -> None:
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
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pump(self) -> None:
        """Start whatever may start now, and come back when something may change without our doing."""
        while (work := self._next()) is not None:
            task = self._loop.create_task(self._run(work), name=f"fetch {work.batch.id}")
            self._tasks[task] = self._flights.begin(task, work)
            task.add_done_callback(self._ended)
        self._rearm()

    def _rearm(self) -> None:
        now = self._loop.time()
        at = self._plan.wake_at(now)
        if self._plan.held:
            at = min(at or now + 1e9, now + _LOOK_AGAIN)
        if at is None:
            return
        if self._timer is not None:
            if self._timer.when() <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()

    def _next(self) -> Work | None:
        """Return what has to be fetched now; whoever can join a flight does, without a task."""
        for _ in range(_JOINS):
            work = self._plan.next(self._loop.time(), self._outcomes.may_start)
            if work is None:
                return None
            flight = self._flights.find(work)
            if flight is None:
                return work
            self._join(flight, work)
        self._loop.call_soon(self._pump)
        return None

    def _join(self, flight: Flight, work: Work) -> None:
        now = self._loop.time()
        self._plan.free(work)
        work.begun = now
        work.attempts += 1
        flight.aboard.append(work)
        if work.deadline > flight.until:
            flight.until = work.deadline
            self._fetcher.prolong(flight.task, work.deadline - now)
        self._watch(flight, min(work.deadline, flight.timer.when() if flight.timer else flight.holder.deadline))

    def _watch(self, flight: Flight, at: float) -> None:
        """Look at the deadlines of those aboard when the first is over; a flight of one has the fetcher's."""
        if flight.timer is not None:
            if flight.timer.when() == at:
                return
            flight.timer.cancel()
        flight.timer = self._loop.call_at(at, self._expire, flight)

    def _expire(self, flight: Flight) -> None:
        flight.timer = None
        now = self._loop.time()
        late = [work for work in flight.aboard if work.deadline <= now]
        flight.aboard = [work for work in flight.aboard if work.deadline > now]
        for work in late:
            self._plan.finished(work)
            self._outcomes.failed(
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

    async def _run(self, work: Work | None) -> None:
        """Fetch one URL after another, as the plan gives them."""
        task = asyncio.current_task()
        assert task is not None
        while work is not None:
            flight = self._tasks[task]
            if not flight.open:
                flight = self._tasks[task] = self._flights.begin(task, work)
            outcome = await self._fetch(flight, work)
            self._end(flight)
            self._land(flight, outcome)
            work = self._next()
        self._rearm()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the place of a task that was cancelled or failed inside; even one that never began."""
        flight = self._tasks.pop(task)
        if flight.open:
            self._end(flight)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a fetch failed inside", exc_info=error)
            for work in flight.aboard:
                self._plan.finished(work)
                bug = Failure("protocol", "a bug of ours; it was logged")
                self._outcomes.failed(work.batch, work.index, bug, work.attempts, {})
        self._loop.call_soon(self._pump)

    async def _fetch(self, flight: Flight, work: Work) -> Fetched | Failure:
        """Make one attempt."""
        request, options = work.request, work.batch.options
        work.begun = begun = self._loop.time()
        work.attempts += 1
        order = Order(
            target=work.target,
            method=request.method or options.method,
            headers={**options.headers, **(request.headers or {})} if request.headers else options.headers,
            body=request.body.encode() if request.body is not None else None,
            timeout=work.deadline - begun,
            max_bytes=options.max_bytes,
            redirects=options.redirects,
            want_body=options.body != "none",
        )
        outcome = await self._fetcher.fetch(order, flight.task)
        now = self._loop.time()
        said = verdict(outcome.status if isinstance(outcome, Fetched) else outcome, now - begun)
        if said is not None:
            # Of the host that was asked last: a redirect to a dead host says nothing of who sent it.
            self._hosts.heard(order.target.origin, said, begun, now, outcome.retry_after)
        return outcome

    def _land(self, flight: Flight, outcome: Fetched | Failure) -> None:
        """Free the turns of those aboard now; tell them together with whatever else lands in this loop turn.

        Fetching and telling by turns would have each find the other's memory in the caches: 15 % of a small fetch.
        """
        size = _EVENT + (len(outcome.body) if isinstance(outcome, Fetched) else 0)
        for work in flight.aboard:
            self._plan.finished(work)
            # Whether its batch may go on is asked before it is told.
            work.batch.landed += size
        if not self._landed:
            self._loop.call_soon(self._settle)
        self._landed.append((flight, outcome))

    def _settle(self) -> None:
        landed, self._landed = self._landed, []
        for flight, outcome in landed:
            size = _EVENT + (len(outcome.body) if isinstance(outcome, Fetched) else 0)
            for work in flight.aboard:
                work.batch.landed -= size
            self._deliver(flight, outcome, flight.aboard)

    def _deliver(self, flight: Flight, outcome: Fetched | Failure, aboard: list[Work]) -> None:
        """Tell everyone aboard, a slice a turn."""
        for work in aboard[:_SLICE]:
            self._tell(work, outcome, shared=work is not flight.holder)
        if len(aboard) > _SLICE:
            self._loop.call_soon(self._deliver, flight, outcome, aboard[_SLICE:])
        elif aboard != [flight.holder]:
            # This task takes one more; everyone else who was aboard has left a turn of their batch.
            self._loop.call_soon(self._pump)
        self._rearm()

    def _tell(self, work: Work, outcome: Fetched | Failure, *, shared: bool) -> None:
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
        elif isinstance(outcome, Failure):
            timing = {"queued": _ms(work.begun - work.admitted), "total": _ms(now - work.admitted)}
            self._outcomes.failed(work.batch, work.index, outcome, work.attempts, timing)
        else:
            self._outcomes.succeeded(work, outcome, work.begun - work.admitted, shared=shared)

    def _reject(self, batch: BatchState, index: int, failure: Failure, attempts: int) -> None:
        self._outcomes.failed(batch, index, failure, attempts, {})


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
