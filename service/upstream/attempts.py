"""All attempts at URLs: what they took, what they say of their hosts, and whether they are made again."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import NO_MEMORY, Failure, Fetched
from service.core.fetching.retry import RETRIED_STATUSES, memory_delay, retry_delay, verdict
from service.core.fetching.task import FetchTask
from service.core.histogram import Histogram
from service.core.room import COPIES, Room
from service.runtime.containment import report
from service.upstream.attempt import Attempt, retry_after_of
from service.upstream.redirect_slots import RedirectSlots

__all__ = ["Attempts", "Measures", "RunnerStatistics"]

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PHASES: Final = ("dns", "connect", "first_byte")
_CLASSES: Final = tuple(f"{digit}xx" for digit in range(10))


@dataclass(frozen=True, slots=True)
class RunnerStatistics:
    """A snapshot: requests under way and hosts in trouble now, and totals since the start."""

    active: int
    troubled: int
    attempts: int
    joined: int
    overdue: dict[str, int]
    """URLs that the watchdog had to end, by where they waited."""


class Measures:
    """Totals over all requests; times are in seconds."""

    def __init__(self) -> None:
        self.phases = {name: Histogram(_BOUNDS) for name in ("queued", *_PHASES, "total")}
        """``dns`` and ``connect`` only where there was one: most requests go over a connection that was kept.
        ``queued`` is the wait of a URL for its first request; ``first_byte`` and ``total`` count from its begin."""
        self.outcomes: Counter[str] = Counter()
        """By the class of the status (``2xx``), the kind of the failure, or ``cancelled``."""

    def began(self, queued: float) -> None:
        """Count a URL whose first request begins."""
        self.phases["queued"].observe(queued)

    def ended(self, outcome: Fetched | Failure, took: float) -> None:
        """Count a request that has ended."""
        self.phases["total"].observe(took)
        if isinstance(outcome, Failure):
            self.outcomes[outcome.kind] += 1
        elif outcome.cache == "hit":
            # It failed, and what is stored stands in for it (stale-if-error).
            self.outcomes["stale"] += 1
        else:
            self.outcomes["3xx" if outcome.cache == "revalidated" else _CLASSES[outcome.status // 100]] += 1
            timing = outcome.timing
            for phase in _PHASES:
                if ms := timing.get(phase):
                    self.phases[phase].observe(ms / 1000)

    def abandoned(self) -> None:
        """Count a request that nobody waited for any more."""
        self.outcomes["cancelled"] += 1


class Attempts:
    """Begins and ends attempts: measures them, reports them to their hosts, and decides on retries."""

    def __init__(
        self, hosts: HostLimiter, moves: RedirectSlots, room: Room, *, chance: Callable[[], float]
    ) -> None:
        self.made = 0
        self.measures = Measures()
        self._hosts = hosts
        self._room = room
        self._moves = moves
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    def begin(self, work: FetchTask, order: Attempt) -> float:
        """Count an attempt that begins; return when."""
        self.made += 1
        work.begun = begun = self._loop.time()
        work.attempts += 1
        if work.attempts == 1:
            self.measures.began(begun - work.admitted)
        order.timeout = work.deadline - begun
        order.move = partial(self._moves.move, work)
        return begun

    def ended(self, order: Attempt, outcome: Fetched | Failure, begun: float) -> None:
        """Measure an attempt that has ended, and record what it says of its host."""
        try:
            self._record(order, outcome, begun)
        except Exception as error:
            report("an outcome could not be recorded", error)

    def again(self, work: FetchTask, outcome: Fetched | Failure) -> float | None:
        """Return when an attempt is made again that had this outcome, or None where it is final."""
        if outcome is NO_MEMORY or (isinstance(outcome, Fetched) and not self.has_room(outcome)):
            return self.postponed(work)
        if isinstance(outcome, Fetched) and outcome.status not in RETRIED_STATUSES:
            return None
        now, options = self._loop.time(), work.group.options
        delay = retry_delay(
            work.request.method or options.method,
            outcome.status if isinstance(outcome, Fetched) else outcome,
            attempts=work.attempts - work.short,
            retries=options.retries,
            retry_after=retry_after_of(outcome),
            chance=self._chance(),
        )
        if delay is None or now + delay >= work.deadline or not self._hosts.spend_retry(work.target.origin):
            return None
        return now + delay

    def has_room(self, fetched: Fetched) -> bool:
        """Return whether there is memory to tell of an answer."""
        return self._room.has(COPIES * len(fetched.body))

    def postponed(self, work: FetchTask) -> float | None:
        """Return when to try a URL again that did not fit into memory; None if it has no time left."""
        now = self._loop.time()
        delay = memory_delay(work.request.method or work.group.options.method, work.short, self._chance())
        if delay is None or now + delay >= work.deadline:
            return None
        work.short += 1
        return now + delay

    def _record(self, order: Attempt, outcome: Fetched | Failure, begun: float) -> None:
        now = self._loop.time()
        self.measures.ended(outcome, now - begun)
        said = verdict(outcome.status if isinstance(outcome, Fetched) else outcome, now - begun)
        if said is not None and not (isinstance(outcome, Fetched) and outcome.cache == "hit"):
            # Of the host that was asked last: a redirect to a dead host says nothing of who sent it.
            wish = None if said == "fine" else retry_after_of(outcome)
            self._hosts.record(order.target.origin, said, begun, now, wish, order.target.url, order.owner)
