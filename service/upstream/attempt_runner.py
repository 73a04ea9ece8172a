"""One attempt at a URL, what it says of the host, and whether it is made again."""

import asyncio
from collections.abc import Callable
from functools import partial

from service.core.fetching.batch import Failure
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.retry import RETRIED_STATUSES, memory_delay, retry_delay, verdict
from service.core.fetching.task import NO_MEMORY, FetchTask
from service.core.room import COPIES, Room
from service.runtime.containment import report
from service.upstream.attempt import Attempt, Fetched
from service.upstream.fetch_metrics import Measures
from service.upstream.redirect_slots import RedirectSlots

__all__ = ["AttemptRunner"]


class AttemptRunner:
    """Counts attempts, and learns from them."""

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
        """Take note of an attempt that begins; return when."""
        self.made += 1
        work.begun = begun = self._loop.time()
        work.attempts += 1
        if work.attempts == 1:
            self.measures.began(begun - work.admitted)
        order.timeout = work.deadline - begun
        order.move = partial(self._moves.move, work)
        return begun

    def ended(self, order: Attempt, outcome: Fetched | Failure, begun: float) -> None:
        """Learn from an attempt that has ended."""
        try:
            self._learn(order, outcome, begun)
        except Exception as error:
            report("an outcome could not be learned from", error)

    def again(self, work: FetchTask, outcome: Fetched | Failure) -> float | None:
        """Return when an attempt is made again that had this outcome, or None where it is final."""
        if outcome is NO_MEMORY or (isinstance(outcome, Fetched) and not self.has_room(outcome)):
            return self.postponed(work)
        if isinstance(outcome, Fetched) and outcome.status not in RETRIED_STATUSES:
            return None
        now, options = self._loop.time(), work.batch.options
        delay = retry_delay(
            work.request.method or options.method,
            outcome.status if isinstance(outcome, Fetched) else outcome,
            attempts=work.attempts - work.short,
            retries=options.retries,
            retry_after=outcome.retry_after,
            chance=self._chance(),
        )
        if delay is None or now + delay >= work.deadline or not self._hosts.may_retry(work.target.origin):
            return None
        return now + delay

    def has_room(self, fetched: Fetched) -> bool:
        """Return whether there is memory to tell of an answer."""
        return self._room.has(COPIES * len(fetched.body))

    def postponed(self, work: FetchTask) -> float | None:
        """Return when to try a URL again that did not fit into memory; None if it has no time left."""
        now = self._loop.time()
        delay = memory_delay(work.request.method or work.batch.options.method, work.short, self._chance())
        if delay is None or now + delay >= work.deadline:
            return None
        work.short += 1
        return now + delay

    def _learn(self, order: Attempt, outcome: Fetched | Failure, begun: float) -> None:
        now = self._loop.time()
        self.measures.ended(outcome, now - begun)
        said = verdict(outcome.status if isinstance(outcome, Fetched) else outcome, now - begun)
        if said is not None and not (isinstance(outcome, Fetched) and outcome.cache == "hit"):
            # Of the host that was asked last: a redirect to a dead host says nothing of who sent it.
            wish = None if said == "fine" else outcome.retry_after
            self._hosts.heard(order.target.origin, said, begun, now, wish, order.target.url, order.owner)
