"""Delivers the outcomes of URLs: an error costs that URL alone its result.

Outcomes of one turn of the loop are delivered together at its end: fetching and delivering by turns would have
each find the other's memory in the caches, 15 % of a small fetch. What would take too long is delivered in the
turns after it: owners take turns, and the outcomes of each keep their order. It counts as landed until then, so
that memory and credit hold.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

import msgspec

from service.core.fair_queue import FairQueue
from service.core.fetching.batch import BatchState, Failure
from service.core.fetching.clocked import Clocked
from service.core.fetching.task import INTERNAL, FetchGroup, FetchTask, Rejection
from service.core.owner import Owner
from service.upstream.attempt import Fetched
from service.upstream.flights import Flight
from service.upstream.isolation import contain
from service.upstream.turn_budget import TurnBudget

__all__ = ["STEP", "Delivery"]

_log = logging.getLogger("sluice.batches")

_EVENT = 300
"""Bytes of an event without its body, about."""
_TURN = 3000
"""What is delivered in one turn of the loop, in microseconds, about: 200 events, or 750 KB of text. Once for what
has landed, and once for what needs no request."""
_EVENT_TIME, _REJECTED = 15, 30
"""Microseconds that an event takes without its body, and that of a URL that never starts."""
_OWNER = 500
"""What one owner has delivered before it is another's turn, where several wait: as :data:`_TURN`."""
STEP = 10
"""Microseconds that each step of the plan takes, as where a URL joins a flight."""
_BEHIND = 16 << 20
"""Bytes that wait to be delivered, beyond which nothing new begins: what comes in faster would fill the memory."""


class _Landed(msgspec.Struct, eq=False):
    """A flight that has landed, and the tasks of one owner that have not got its outcome yet."""

    flight: Flight
    outcome: Fetched | Failure
    size: int
    aboard: Iterator[FetchTask]
    others: bool
    """Whether somebody beside its holder gets the outcome."""


class Delivery:
    """Tells each asker of the flights that have landed.

    ``again(work, outcome)`` is asked first: it says whether the attempt is made again. ``others`` is called where
    somebody beside the holder got the outcome: they have left a turn of their batch. What is delivered is ended in
    ``clocked``.
    """

    def __init__(
        self, clocked: Clocked, again: Callable[[FetchTask, Fetched | Failure], bool], others: Callable[[], object]
    ) -> None:
        self._clocked = clocked
        self._again = again
        self._others = others
        self._loop = asyncio.get_running_loop()
        self._landed: FairQueue[_Landed] = FairQueue(_OWNER)
        self._bytes = 0
        self.turn = TurnBudget(_TURN)
        """For what needs no request: it is rejected, answered from the cache, or joins a flight."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> bool:
        """Whether nothing more is to begin or to be rejected in this turn."""
        return not self.turn.left or self._bytes > _BEHIND

    async def close(self) -> None:
        """Return when all that has landed is delivered."""
        await self._idle.wait()

    def land(self, flight: Flight, outcome: Fetched | Failure) -> None:
        """Take in a flight that has ended."""
        size = _EVENT + (len(outcome.body) if isinstance(outcome, Fetched) else 0)
        flight.landed = True
        aboard = flight.aboard
        others = aboard != [flight.holder]
        by_owner: dict[Owner, list[FetchTask]] = {}
        for work in aboard:
            # Whether its batch may go on is asked before it gets the outcome.
            work.batch.landed += size
            if others:
                by_owner.setdefault(work.batch.owner, []).append(work)
        if not others:
            by_owner[flight.holder.batch.owner] = aboard
        if by_owner and not self._landed:
            self._idle.clear()
            self._loop.call_soon(self._settle)
        for owner, works in by_owner.items():
            self._bytes += size
            self._landed.put(owner, _Landed(flight, outcome, size, iter(works), others))

    def succeeded(self, work: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Tell of an answer."""
        self._clocked.end(work.batch, work.index)
        try:
            work.batch.source.succeeded(work, fetched, queued, shared=shared)
        except Exception as error:
            self.broken(work.batch, work.index, work.attempts, error)

    def known(self, work: FetchTask, fetched: Fetched) -> None:
        """Tell of an answer from the cache."""
        self.turn.spend(_time(len(fetched.body)))
        self.succeeded(work, fetched, 0.0, shared=False)

    def failed(
        self, batch: FetchGroup, index: int, failure: Failure, attempts: int, timing: dict[str, float]
    ) -> None:
        """Tell of a failure."""
        self._clocked.end(batch, index)
        try:
            batch.source.failed(batch, index, failure, attempts, timing)
        except Exception as error:
            self.broken(batch, index, attempts, error)

    def rejected(self, one: Rejection) -> None:
        """Tell of a URL that never starts, or not again."""
        self.turn.spend(_REJECTED)
        if one.error is None:
            self.failed(one.batch, one.index, one.failure, one.attempts, {})
        else:
            self.broken(one.batch, one.index, one.attempts, one.error)

    def broken(self, batch: FetchGroup, index: int, attempts: int, error: BaseException) -> None:
        """Log a bug, and fail the URL that it happened to."""
        self._clocked.end(batch, index)
        fields = batch.correlation.log_fields() if isinstance(batch, BatchState) and batch.correlation else {}
        _log.error("unhandled exception in a fetch", exc_info=error, extra={"asker": batch.id, **fields})
        try:
            batch.source.failed(batch, index, INTERNAL, attempts, {})
        except Exception:
            _log.exception("a failure could not be delivered", extra={"asker": batch.id, **fields})

    def _settle(self) -> None:
        """Deliver what has landed: as much as a turn has time for, and one event at least."""
        room = _TURN
        while self._landed and room > 0:
            first = self._landed.first
            work = next(first.aboard, None)
            if work is not None:
                cost = _time(first.size)
                room -= cost
                self._landed.spend(cost)
                contain("an outcome could not be delivered", self._deliver, first, work)
                continue
            self._landed.pop()
            self._bytes -= first.size
            if first.others:
                self._others()
        if self._landed:
            self._loop.call_soon(self._settle)
        else:
            self._idle.set()

    def _deliver(self, landed: _Landed, work: FetchTask) -> None:
        outcome = landed.outcome
        work.batch.landed -= landed.size
        try:
            if self._again(work, outcome):
                return
        except Exception as error:
            self.broken(work.batch, work.index, work.attempts, error)
            return
        if isinstance(outcome, Failure):
            timing = {
                "queued": round((work.begun - work.admitted) * 1000, 2),
                "total": round((self._loop.time() - work.admitted) * 1000, 2),
            }
            self.failed(work.batch, work.index, outcome, work.attempts, timing)
        else:
            self.succeeded(work, outcome, work.begun - work.admitted, shared=work is not landed.flight.holder)


def _time(size: int) -> int:
    """Return how long it takes to deliver so many bytes, about: they are decoded, escaped as JSON, and copied."""
    return _EVENT_TIME + (size >> 8)
