"""Delivers the outcomes of URLs: an error costs that URL alone its result.

Outcomes of one turn of the loop are delivered together at its end: fetching and delivering by turns would have
each find the other's memory in the caches, 15 % of a small fetch.
"""

import asyncio
import logging
from collections.abc import Callable

from service.core.fetching.batch import BatchState, Failure
from service.core.fetching.clocked import Clocked
from service.core.fetching.task import INTERNAL, FetchGroup, FetchTask, Rejection
from service.upstream.attempt import Fetched
from service.upstream.flights import Flight

__all__ = ["Delivery"]

_log = logging.getLogger("sluice.batches")

_EVENT = 300
"""Bytes of an event without its body, about."""
_SLICE = 200
"""Groups that get an outcome in one turn of the loop, 15 us each."""


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
        self._landed: list[tuple[Flight, Fetched | Failure, int]] = []

    def land(self, flight: Flight, outcome: Fetched | Failure) -> None:
        """Take in a flight that has ended."""
        size = _EVENT + (len(outcome.body) if isinstance(outcome, Fetched) else 0)
        for work in flight.aboard:
            # Whether its batch may go on is asked before it gets the outcome.
            work.batch.landed += size
        if not self._landed:
            self._loop.call_soon(self._settle)
        flight.landed = True
        self._landed.append((flight, outcome, size))

    def succeeded(self, work: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Tell of an answer."""
        self._clocked.end(work.batch, work.index)
        try:
            work.batch.source.succeeded(work, fetched, queued, shared=shared)
        except Exception as error:
            self.broken(work.batch, work.index, work.attempts, error)

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
        if one.error is None:
            self.failed(one.batch, one.index, one.failure, one.attempts, {})
        else:
            self.broken(one.batch, one.index, one.attempts, one.error)

    def broken(self, batch: FetchGroup, index: int, attempts: int, error: BaseException) -> None:
        """Log a bug, and fail the URL that it happened to."""
        self._clocked.end(batch, index)
        told = batch.correlation.told() if isinstance(batch, BatchState) and batch.correlation else {}
        _log.error("unhandled exception in a fetch", exc_info=error, extra={"asker": batch.id, **told})
        try:
            batch.source.failed(batch, index, INTERNAL, attempts, {})
        except Exception:
            _log.exception("a failure could not be delivered", extra={"asker": batch.id, **told})

    def _settle(self) -> None:
        landed, self._landed = self._landed, []
        for flight, outcome, size in landed:
            self._deliver(flight, outcome, size, flight.aboard)

    def _deliver(self, flight: Flight, outcome: Fetched | Failure, size: int, aboard: list[FetchTask]) -> None:
        """Tell everyone aboard, a slice a turn."""
        now = self._loop.time()
        for work in aboard[:_SLICE]:
            work.batch.landed -= size
            try:
                if self._again(work, outcome):
                    continue
            except Exception as error:
                self.broken(work.batch, work.index, work.attempts, error)
                continue
            if isinstance(outcome, Failure):
                timing = {
                    "queued": round((work.begun - work.admitted) * 1000, 2),
                    "total": round((now - work.admitted) * 1000, 2),
                }
                self.failed(work.batch, work.index, outcome, work.attempts, timing)
            else:
                self.succeeded(work, outcome, work.begun - work.admitted, shared=work is not flight.holder)
        if len(aboard) > _SLICE:
            self._loop.call_soon(self._deliver, flight, outcome, size, aboard[_SLICE:])
        elif aboard != [flight.holder]:
            self._others()
