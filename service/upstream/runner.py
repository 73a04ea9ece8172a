"""The tasks that fetch: as many as the plan lets start, each going on with the next URL when it is done.

Ten thousand URLs at a concurrency of 100 are 100 tasks; whatever waits is an index in the plan.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from service.core.batch import BatchLimits, BatchState, Failure
from service.core.plan import FetchPlan, Work
from service.core.retry import retry_delay
from service.upstream.fetcher import Fetched, Fetcher, Order

__all__ = ["Outcomes", "Runner"]

_log = logging.getLogger("sluice.batches")

_LOOK_AGAIN = 0.02
"""Seconds after which a batch that was held back (credit, memory) is looked at again."""


class Outcomes(Protocol):
    """Who is asked whether a batch may go on, and told what came of each URL."""

    def may_start(self, batch: BatchState) -> bool:
        """Whether the batch may start one more fetch now."""
        ...

    def succeeded(self, work: Work, fetched: Fetched, queued: float) -> None:
        """Take an answer; ``queued`` is in seconds."""
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
        self._plan = FetchPlan(limits, fetcher.policy, self._reject)
        self._tasks: dict[asyncio.Task[None], Work] = {}
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
        for task, work in tuple(self._tasks.items()):
            if work.batch is batch:
                task.cancel()

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
        while (work := self._plan.next(self._loop.time(), self._outcomes.may_start)) is not None:
            task = self._loop.create_task(self._run(work), name=f"fetch {work.batch.id}")
            self._tasks[task] = work
            task.add_done_callback(self._ended)
        self._rearm()

    def _rearm(self) -> None:
        now = self._loop.time()
        at = self._plan.wake_at
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

    async def _run(self, work: Work | None) -> None:
        """Fetch one URL after another, as the plan gives them."""
        task = asyncio.current_task()
        assert task is not None
        while work is not None:
            self._tasks[task] = work
            again = await self._attempt(work)
            if again is None:
                self._plan.finished(work)
            else:
                self._plan.again(work, again)
            work = self._plan.next(self._loop.time(), self._outcomes.may_start)
        self._rearm()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the place of a task that was cancelled or failed inside; even one that never began."""
        work = self._tasks.pop(task)
        if not task.cancelled():
            error = task.exception()
            if error is None:
                return
            _log.error("a fetch failed inside", exc_info=error)
            bug = Failure("protocol", "a bug of ours; it was logged")
            self._outcomes.failed(work.batch, work.index, bug, work.attempts, {})
        self._plan.finished(work)
        self._loop.call_soon(self._pump)

    async def _attempt(self, work: Work) -> float | None:
        """Make one attempt; return when to make the next one, or None when the outcome was told."""
        batch, request, options = work.batch, work.request, work.batch.options
        begun = self._loop.time()
        work.attempts += 1
        method = request.method or options.method
        outcome = await self._fetcher.fetch(
            Order(
                target=work.target,
                method=method,
                headers={**options.headers, **(request.headers or {})} if request.headers else options.headers,
                body=request.body.encode() if request.body is not None else None,
                timeout=work.deadline - begun,
                max_bytes=options.max_bytes,
                redirects=options.redirects,
                want_body=options.body != "none",
            )
        )
        now = self._loop.time()
        delay = retry_delay(
            method,
            outcome.status if isinstance(outcome, Fetched) else outcome,
            attempts=work.attempts,
            retries=options.retries,
            retry_after=_retry_after(outcome),
            chance=self._chance(),
        )
        if delay is not None and now + delay < work.deadline:
            return now + delay
        if isinstance(outcome, Failure):
            timing = {"queued": _ms(begun - work.admitted), "total": _ms(now - work.admitted)}
            self._outcomes.failed(batch, work.index, outcome, work.attempts, timing)
        else:
            self._outcomes.succeeded(work, outcome, begun - work.admitted)
        return None

    def _reject(self, batch: BatchState, index: int, failure: Failure) -> None:
        self._outcomes.failed(batch, index, failure, 0, {})


def _retry_after(outcome: Fetched | Failure) -> float | None:
    """Return the seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3); dates are left to the jitter."""
    if isinstance(outcome, Failure):
        return outcome.retry_after
    text = outcome.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
