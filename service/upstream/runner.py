"""The tasks that fetch: as many as the plan lets start, each going on with the next URL when it is done.

Ten thousand URLs at a concurrency of 100 are 100 tasks; what waits is an index, and what is under way is joined.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from service.core.fetching.batch import BatchLimits
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import INTERNAL, Failure, Fetched, Permit
from service.core.fetching.plan import FetchPlan
from service.core.fetching.task import RUNNING, FetchGroup, FetchTask, Rejection, Turn, asker_of
from service.runtime.containment import report
from service.runtime.spread import Spread
from service.runtime.timer import WakeUp
from service.upstream.attempts import Attempt, Attempts, RunnerStatistics, attempt_of
from service.upstream.delivery import STEP, Delivery
from service.upstream.fetcher import Fetcher
from service.upstream.flights import Flight, Flights
from service.upstream.redirect_slots import RedirectSlots
from service.upstream.watchdog import Watchdog, waits_for

__all__ = ["Runner"]

_NOT_CACHED = Failure("unavailable", "only-if-cached: nothing fresh is stored of it")
_ANOTHER_TRY, _BEGUN, _CANCELLED = 1.0, 16, 8
"""Requests that begin in one turn of the loop, 0.2 ms each where they connect, or are cancelled, 0.1 ms each."""


class Runner:
    """Starts what the plan allows; every task is owned here and ends with :meth:`close` at the latest."""

    def __init__(self, fetcher: Fetcher, limits: BatchLimits, *, chance: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.hosts = HostLimiter(limits.active_per_host, chance=chance, shared=limits.hosts_shared)
        self.plan = FetchPlan(limits, fetcher.policy, self.hosts)
        self._redirects = RedirectSlots(self.hosts, self._pump_soon)
        self._attempts = Attempts(self.hosts, self._redirects, fetcher.memory, chance=chance)
        self.measures = self._attempts.measures
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._flights = Flights(self._expired)
        self._delivery = Delivery(self.plan, self._attempts.again, self._pump_soon)
        self.undelivered = self._delivery.undelivered
        self._watchdog = Watchdog(self.plan.admitted, self._drop, self._give_up)
        self._wake_up = WakeUp(self._pump)
        self._cancelling = Spread("a fetch could not be cancelled", _CANCELLED)
        self._pumping = False
        self._joined = 0

    def __repr__(self) -> str:
        return f"<Runner {self.active} fetching, {self.plan!r}>"

    @property
    def active(self) -> int:
        """How many fetches run."""
        return len(self._tasks)

    def statistics(self) -> RunnerStatistics:
        """Return an immutable snapshot."""
        return RunnerStatistics(
            self.active, self.hosts.throttled, self._attempts.made, self._joined, dict(self._watchdog.ended)
        )

    def slow(self, share: float) -> None:
        """Give new fetches this share of their places, at least one; what runs goes on."""
        self.plan.places = max(1, round(self._limits.active * share))
        self._pump_soon()

    def add(self, group: FetchGroup) -> None:
        """Begin a group; its first fetch starts in the next loop turn.

        Not now: the answer to the request that began it comes first, and its reader is there by then.
        """
        self.plan.add(group)
        self._pump_soon()

    def wake(self, group: FetchGroup) -> None:
        """Ask the listener of a group again that it has held back; what it admits starts in the next loop turn."""
        self.plan.wake(group)
        self._pump_soon()

    def forget(self, group: FetchGroup) -> None:
        """Start nothing of this group any more."""
        self.plan.remove(group)

    def cancel(self, group: FetchGroup) -> None:
        """Start nothing of this group any more, and cancel what runs of it."""
        self.plan.remove(group)
        for flight in tuple(self._tasks.values()):
            self._leave(flight, [work for work in flight.waiters if work.group is not group])

    def _leave(self, flight: Flight, left: list[FetchTask]) -> None:
        """Have those leave a flight that are not left."""
        if len(left) < len(flight.waiters):
            flight.waiters = left
            if not left:
                self._abandon(flight)

    async def close(self) -> None:
        """End every task, and begin none for what waits."""
        self.plan.places = 0
        self._watchdog.close()
        self._wake_up.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._delivery.close()

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Start what may start now, and come back when something may change without our doing."""
        self._pumping = False
        self._watchdog.wake()
        self._redirects.admit()
        for _ in range(_BEGUN):
            ready = self._next()
            if ready is None:
                return
            task = self._loop.create_task(self._run(ready), name=f"fetch {asker_of(ready[0].group)}")
            self._tasks[task] = self._flights.begin(task, ready[0])
            task.add_done_callback(self._ended)
        self._pump_soon()

    def _next(self) -> tuple[FetchTask, Attempt] | None:
        """Return what has to be fetched now, and how; what can join a flight does, without a task."""
        while self._delivery.turn.left > 0:
            self._delivery.turn.spend(STEP)
            now = self._wake_up.now()
            try:
                decision = self.plan.next(now)
                given = self._start(decision, now) if isinstance(decision, Turn) else decision
            except Exception as error:
                # A bug in what is common to all: they get another try, and not at once.
                report("the plan failed inside", error)
                self._loop.call_later(_ANOTHER_TRY, self._pump_soon)
                return None
            if isinstance(given, float):
                self._wake_up.set(given)
                return None
            if isinstance(given, Rejection):
                self._delivery.rejected(given)
            elif given is not None and (attempt := self._attempt(given)) is not None:
                self._delivery.begins(given, self._fetcher.keeps)
                if self.plan.parking.waiting:
                    self._wake_up.set(self.plan.wake_at())
                return given, attempt
        self._pump_soon()
        return None

    def _start(self, turn: Turn, now: float) -> FetchTask | None:
        """Ask the listener of the group whose turn it is, and return the URL that it lets start now."""
        try:
            permit = turn.group.listener.admit(turn.group)
        except Exception as error:
            self.plan.refuse(turn, INTERNAL, error)
            return None
        if permit is Permit.START:
            return self.plan.start(turn, now)
        if permit is Permit.HOLD:
            self.plan.hold(turn, now)
        else:
            self.plan.refuse(turn, permit)
        return None

    def _attempt(self, work: FetchTask) -> Attempt | None:
        """Return what has to be fetched for a URL that starts, if anything has; a bug fails that URL alone.

        It joins a flight, or is answered from the cache, where it can.
        """
        try:
            if (flight := self._flights.find(work)) is not None:
                self._join(flight, work)
                return None
            attempt = attempt_of(work)
            known = self._fetcher.recall(attempt)
            if known is None and attempt.cache != "only-if-cached":
                return attempt
            self.plan.free(work)
            self.plan.landed(work)
            self._answer(work, known)
        except Exception as error:
            if work.place:
                self.plan.free(work)
            if work.state is RUNNING:
                self.plan.landed(work)
            self._delivery.broken(work.group, work.index, work.attempts, error)
        return None

    def _answer(self, work: FetchTask, known: Fetched | None) -> None:
        """Answer a URL without a request, or have it wait for the memory for that."""
        if known is None:
            self._delivery.rejected(Rejection(work.group, work.index, _NOT_CACHED, 0))
        elif not self._attempts.has_room(known) and (at := self._attempts.postponed(work)):
            self.plan.retry(work, at)
        else:
            self._delivery.known(work, known)

    def _join(self, flight: Flight, work: FetchTask) -> None:
        now = self._loop.time()
        self._joined += 1
        self.plan.free(work)
        work.begun = now
        work.attempts += 1
        if self._flights.join(flight, work):
            self._fetcher.prolong(flight.task, work.deadline - now)

    def _expired(self, flight: Flight, late: list[FetchTask]) -> None:
        for work in late:
            self.plan.landed(work)
            self._give_up(work, Failure("timeout", "its time was over"))
        if not flight.waiters:
            self._abandon(flight)

    def _abandon(self, flight: Flight) -> None:
        """Cancel a request that nobody waits for, in its turn; until then it has its place."""
        if held := flight.open:
            self._flights.end(flight)
        self._cancelling.call(self._cancel, flight, held)

    def _cancel(self, flight: Flight, held: bool) -> None:
        flight.task.cancel()
        if held:
            self._free(flight)

    def _drop(self, work: FetchTask) -> tuple[str, str]:
        """Take a URL out of wherever it waits, and say where and for what."""
        if work.waiting:
            what = f"its turn at {work.place}" if work.place else "a place at its host"
            self.plan.drop(work)
            return "place", what
        for task, flight in self._tasks.items():
            if work in flight.waiters and not flight.landed:
                self._leave(flight, [one for one in flight.waiters if one is not work])
                self.plan.landed(work)
                return "request", waits_for(task)
        return "delivery", "an answer that has come, or a retry"

    def _give_up(self, work: FetchTask, failure: Failure) -> None:
        self._delivery.failed(work.group, work.index, failure, work.attempts, {})
        self._pump_soon()

    def _end(self, flight: Flight) -> None:
        self._flights.end(flight)
        self._free(flight)

    def _free(self, flight: Flight) -> None:
        self.plan.free(flight.leader)
        self._redirects.admit()

    async def _run(self, ready: tuple[FetchTask, Attempt] | None) -> None:
        """Fetch one URL after another, as the plan gives them."""
        task = asyncio.current_task()
        assert task is not None
        if not self._tasks[task].open:
            return  # its batch was cancelled before it began
        while ready is not None:
            work, attempt = ready
            flight = self._tasks[task]
            if not flight.open:
                flight = self._tasks[task] = self._flights.begin(task, work)
            attempt.kept_apart = partial(self._set_apart, flight)
            begun = self._attempts.begin(work, attempt)
            outcome = await self._fetcher.fetch(attempt, task)
            if not flight.open:
                # The watchdog has given it up, and it did not stop then.
                break
            self._attempts.ended(attempt, outcome, begun)
            self._end(flight)
            for waiter in flight.waiters:
                self.plan.landed(waiter)
            self._delivery.land(flight, outcome)
            ready = self._next()

    def _set_apart(self, flight: Flight) -> None:
        """Have those ask for their own to whom an answer may not be given."""
        for work in self._flights.set_apart(flight):
            work.attempts -= 1
            self.plan.landed(work)
            self.plan.retry(work, self._loop.time())
            self._pump_soon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the place of a task that was cancelled or failed inside; even one that never began."""
        flight = self._tasks.pop(task)
        if flight.open:
            self.measures.abandoned()
            self._end(flight)
        if not task.cancelled() and (error := task.exception()) is not None:
            for work in () if flight.landed else flight.waiters:
                self.plan.landed(work)
                self._delivery.broken(work.group, work.index, work.attempts, error)
        self._pump_soon()
