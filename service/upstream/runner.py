"""The tasks that fetch: as many as the plan lets start, each going on with the next URL when it is done.

Ten thousand URLs at a concurrency of 100 are 100 tasks; what waits is an index, and what is under way is joined.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from service.core.fetching.batch import BatchLimits
from service.core.fetching.heirs import pass_on
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.plan import FetchPlan
from service.core.fetching.task import RUNNING, FetchGroup, FetchTask, asker_of
from service.runtime.containment import forget_cancellation
from service.runtime.per_turn import PerTurn
from service.runtime.timer import WakeUp
from service.upstream.attempts import FetchAttempts
from service.upstream.deadlines import Watchdog, waits_for
from service.upstream.delivery import Delivery
from service.upstream.fetch_metrics import RunnerStatistics
from service.upstream.fetcher import Fetcher
from service.upstream.flights import Flight, Flights
from service.upstream.redirect_slots import RedirectSlots
from service.upstream.starts import Ready, Starts

__all__ = ["Runner"]

_BEGUN, _CANCELLED = 16, 8
"""Requests that begin in one turn of the loop, 0.2 ms each where they connect, or are cancelled, 0.1 ms each."""


class Runner:
    """Starts what the plan allows; every task is owned here and ends with :meth:`close` at the latest."""

    def __init__(self, fetcher: Fetcher, limits: BatchLimits, *, chance: Callable[[], float]) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self.hosts = HostLimiter(limits.active_per_host, chance=chance, shared=limits.hosts_shared)
        self.plan = FetchPlan(limits, fetcher.policy, self.hosts)
        fetcher.answers.contended = lambda: self.plan.owners.contended
        fetcher.answers.gives_way = self.plan.owners.gives_way
        self._wake_up = WakeUp(self._pump)
        self._redirects = RedirectSlots(self.hosts, self._pump_soon, self._wake_up.now)
        self._attempts = FetchAttempts(self.hosts, fetcher.memory, chance=chance)
        self.metrics = self._attempts.metrics
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._flights = Flights(self._expired)
        self._delivery = Delivery(self.plan, self._attempts.again, self._pump_soon)
        self.undelivered = self._delivery.undelivered
        self._watchdog = Watchdog(self.plan.admitted, self._drop, self._give_up)
        self._starts = Starts(
            self.plan, fetcher, self._flights, self._attempts, self._delivery, self._wake_up, self._pump_soon
        )
        self._cancelling = PerTurn(_CANCELLED, what="a fetch could not be cancelled")
        self._pumping = False

    def __repr__(self) -> str:
        return f"<Runner {self.active} fetching, {self.plan!r}>"

    @property
    def active(self) -> int:
        """How many fetches run."""
        return len(self._tasks)

    def statistics(self) -> RunnerStatistics:
        """Return an immutable snapshot."""
        return RunnerStatistics(
            self.active, self.hosts.throttled, self._attempts.made, self._starts.joined, dict(self._watchdog.ended)
        )

    def slow(self, share: float) -> None:
        """Give new fetches this share of their places, at least one; what runs goes on."""
        self.plan.shares.resize(max(1, round(self._limits.active * share)))
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
        if self._redirects.waiting or self.plan.parking.waiting:
            self._pump_soon()  # Places that were offered to it may be free now.

    def cancel(self, group: FetchGroup) -> None:
        """Start nothing of this group any more, and cancel what runs of it."""
        self.forget(group)
        for flight in tuple(self._tasks.values()):
            self._leave(flight, [work for work in flight.waiters if work.group is not group])

    def _leave(self, flight: Flight, left: list[FetchTask]) -> None:
        """Have those leave a flight that are not left."""
        if len(left) < len(flight.waiters):
            flight.waiters = left
            self._go_on_without(flight)

    def _go_on_without(self, flight: Flight) -> None:
        """Have a flight that some have left go on for the others, in the place of one of them; or end it."""
        leader, others = flight.leader, flight.waiters
        if others and (leader is others[0] or not flight.open):
            return
        if (heir := pass_on(self.plan, self.hosts, leader, others)) is not None:
            flight.leader, flight.waiters = heir, [heir, *(work for work in others if work is not heir)]
            self._pump_soon()
            return
        flight.waiters = []
        self._abandon(flight)
        self._ask_again(others)

    async def close(self) -> None:
        """End every task, and begin none for what waits."""
        self.plan.shares.resize(0)
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
        if self._redirects.waiting:
            self._redirects.admit()
        for _ in range(_BEGUN):
            ready = self._next()
            if ready is None:
                return
            task = self._loop.create_task(self._run(ready), name=f"fetch {asker_of(ready[0].group)}")
            self._tasks[task] = self._flights.begin(task, ready[0])
            task.add_done_callback(self._ended)
        self._pump_soon()

    def _expired(self, flight: Flight, late: list[FetchTask]) -> None:
        for work in late:
            self.plan.landed(work)
            self._give_up(work, Failure("timeout", "its time was over"))
        self._go_on_without(flight)

    def _abandon(self, flight: Flight) -> None:
        """Cancel a request that nobody waits for, in its turn; until then it has its place."""
        if held := flight.open:
            self._flights.end(flight)
        self._cancelling.call(flight.leader.group.owner, partial(self._cancel, flight, held))

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
        if self._redirects.waiting:
            self._redirects.admit()

    async def _run(self, ready: Ready | None) -> None:
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
            attempt.move = partial(self._move, flight, attempt.kept_apart)
            begun = self._attempts.begin(work, attempt)
            attempt.timeout = flight.until - begun
            outcome = await self._fetcher.fetch(attempt, task)
            if not flight.open:
                # The watchdog has given it up, and it did not stop then.
                break
            self._attempts.ended(attempt, outcome, begun)
            ready = self._land(flight, outcome) or self._following()

    def _move(self, flight: Flight, waits: Callable[[], None], origin: str) -> Awaitable[Failure | None]:
        """Have a redirect exchange the place that the flight has now."""
        return self._redirects.move(flight.leader, origin, waits=waits)

    def _next(self) -> Ready | None:
        """Return what is fetched now; tasks that the plan dropped may have left a place for a redirect."""
        ready = self._starts.next()
        if self._redirects.waiting:
            self._redirects.admit()
        return ready

    def _following(self) -> Ready | None:
        """Return what is fetched in a place that was freed; other URLs that may start do so in the next turn.

        The end of one request may make room for several: at its host, in its batch, and in its owner's share.
        """
        ready = self._next()
        if ready is not None and self.plan.active < self.plan.shares.places and self.plan.owners.turns:
            self._pump_soon()
        return ready

    def _land(self, flight: Flight, outcome: Fetched | Failure) -> Ready | None:
        """Have an outcome delivered; return what is fetched next in its place, or None if the place was freed."""
        self._flights.end(flight)
        turn = self._starts.successor(flight.leader) if not self._redirects.waiting else None
        if turn is None:
            self._free(flight)
        try:
            for waiter in flight.waiters:
                self.plan.landed(waiter)
            self._delivery.land(flight, outcome)
        except Exception:
            if turn is not None:
                self._free(flight)
            raise
        return self._starts.hand_on(turn, flight.leader) if turn is not None else None

    def _set_apart(self, flight: Flight) -> None:
        """Retry, each on its own, the requests that may not share this flight's answer."""
        self._ask_again(self._flights.set_apart(flight))

    def _ask_again(self, leaving: list[FetchTask]) -> None:
        """Retry, each on its own, requests that have left a flight; this does not count as an attempt."""
        for work in leaving:
            work.attempts -= 1
            self.plan.landed(work)
            self.plan.retry(work, self._loop.time())
            self._pump_soon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the place of a task that was cancelled or raised, even if it never began."""
        flight = self._tasks.pop(task)
        if flight.open:
            self.metrics.abandoned()
            self._end(flight)
        if task.cancelled():
            forget_cancellation(task)
        elif (error := task.exception()) is not None:
            for work in () if flight.landed else flight.waiters:
                if work.state is RUNNING:
                    self.plan.landed(work)
                self._delivery.broken(work.group, work.index, work.attempts, error)
        self._pump_soon()
