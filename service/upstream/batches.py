"""Batches: they start what the plan allows, tell every outcome to their topic, and end.

Each URL that runs has one task, owned here. A task goes on with the next URL that the plan gives it, so
ten thousand URLs at a concurrency of 100 are 100 tasks. Whatever is waiting is an index in the plan.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from service.core.batch import BatchLimits, BatchRequest, BatchState, Failure, Keep, check_request
from service.core.errors import Draining, LimitReached, NotFound
from service.core.hub import Hub
from service.core.plan import FetchPlan, Work
from service.core.retry import retry_delay
from service.upstream.bodies import encode_body
from service.upstream.fetcher import Fetched, Fetcher, Order

__all__ = ["Batches", "BatchesStatistics"]

_log = logging.getLogger("sluice.batches")

_LOOK_AGAIN = 0.02
"""Seconds after which a batch that was held back (credit, memory) is looked at again."""
_SLICE = 500
"""Events that are written in one turn when a batch is cancelled; 3 us each."""


@dataclass(frozen=True, slots=True)
class BatchesStatistics:
    """A snapshot: counts now, and totals since the start."""

    running: int
    retained: int
    active: int
    ok: int
    failed: int


class Batches:
    """Every batch by id, and the tasks that fetch for them."""

    def __init__(
        self,
        hub: Hub,
        fetcher: Fetcher,
        limits: BatchLimits,
        *,
        new_id: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self.draining = False
        self.ok = 0
        self.failed = 0
        self._hub = hub
        self._fetcher = fetcher
        self._limits = limits
        self._new_id = new_id
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._plan = FetchPlan(limits, fetcher.policy, self._reject)
        self._batches: dict[str, BatchState] = {}
        self._finished: deque[BatchState] = deque()
        self._tasks: dict[asyncio.Task[None], Work] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._lingers: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<Batches {self.running} running, {len(self._finished)} retained, {self._plan!r}>"

    @property
    def running(self) -> int:
        """How many are not done."""
        return len(self._batches) - len(self._finished)

    def statistics(self) -> BatchesStatistics:
        """Return an immutable snapshot."""
        return BatchesStatistics(self.running, len(self._finished), len(self._tasks), self.ok, self.failed)

    def start(self, request: BatchRequest, *, owner: str, keep: Keep) -> BatchState:
        """Begin a batch; its events come in the topic ``batch:ID``. Raises SluiceError to refuse it whole."""
        if self.draining:
            raise Draining("the service is shutting down")
        items = check_request(request, self._limits)
        if self.running >= self._limits.batches:
            raise LimitReached(f"limit batches: {self._limits.batches} are running")
        batch_id = self._new_id()
        topic = self._hub.log(f"batch:{batch_id}")
        batch = BatchState(batch_id, topic, owner, keep, items, request.options, self._loop.time())
        topic.on_idle = lambda: self._left(batch)
        self._batches[batch_id] = batch
        self._plan.add(batch)
        # Not now: the answer to the request that began it comes first, and its reader is there by then.
        self._loop.call_soon(self._pump)
        return batch

    def find(self, batch_id: str) -> BatchState:
        """Return the batch, or raise NotFound."""
        batch = self._batches.get(batch_id)
        if batch is None:
            raise NotFound("there is no such batch (any more)")
        return batch

    def cancel(self, batch_id: str) -> int:
        """End a batch and return how many of its URLs had not finished; each of them fails as ``cancelled``."""
        batch = self.find(batch_id)
        if batch.done or batch.cancelled:
            return 0
        batch.cancelled = True
        self._plan.remove(batch)
        for task, work in tuple(self._tasks.items()):
            if work.batch is batch:
                task.cancel()
        left = batch.total - batch.ok - batch.failed
        self._fail_rest(batch, 0)
        return left

    def _fail_rest(self, batch: BatchState, index: int) -> None:
        """Tell of what was cancelled, a slice a turn."""
        room = _SLICE
        while room and index < batch.total:
            if not batch.finished[index]:
                self._fail(batch, index, Failure("cancelled", "the batch was cancelled"), 0)
                room -= 1
            index += 1
        if index < batch.total:
            self._loop.call_soon(self._fail_rest, batch, index)

    def _left(self, batch: BatchState) -> None:
        """Decide how long a batch goes on whose last reader has left."""
        if batch.done or batch.keep is Keep.DETACHED:
            return
        linger = self._limits.linger if batch.keep is Keep.LINGER else 0.0
        if batch.id not in self._lingers:
            self._lingers[batch.id] = self._loop.call_later(linger, self._abandon, batch)

    def _abandon(self, batch: BatchState) -> None:
        self._lingers.pop(batch.id, None)
        if not batch.topic.readers and not batch.done:
            self.cancel(batch.id)

    def _pump(self) -> None:
        """Start whatever may start now, and come back when something may change without our doing."""
        while (work := self._plan.next(self._loop.time(), self._may_start)) is not None:
            task = self._loop.create_task(self._run(work), name=f"fetch {work.batch.id}")
            self._tasks[task] = work
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

    def _may_start(self, batch: BatchState) -> bool:
        """Hold a batch back while its reader has much to take, or while memory is short."""
        if self._fetcher.reading > self._limits.reading_bytes or not self._make_room():
            return False
        return batch.keep is Keep.DETACHED or batch.waiting() < self._limits.credit

    def _make_room(self) -> bool:
        while self._hub.log_bytes > self._limits.retained_bytes and self._finished:
            self._drop(self._finished[0])
        return self._hub.log_bytes <= self._limits.retained_bytes

    async def _run(self, work: Work | None) -> None:
        """Fetch one URL after another, as the plan gives them."""
        task = asyncio.current_task()
        assert task is not None
        try:
            while work is not None:
                self._tasks[task] = work
                await self._attempt(work)
                work = self._plan.next(self._loop.time(), self._may_start)
            self._rearm()
        except asyncio.CancelledError:
            assert work is not None
            self._plan.finished(work)
            self._loop.call_soon(self._pump)
            raise
        except Exception:
            assert work is not None
            _log.exception("a fetch failed inside")
            self._plan.finished(work)
            self._fail(work.batch, work.index, Failure("protocol", "a bug of ours; it was logged"), work.attempts)
            self._loop.call_soon(self._pump)
        finally:
            del self._tasks[task]

    async def _attempt(self, work: Work) -> None:
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
            self._plan.again(work, now + delay)
            self._rearm()
            return
        self._plan.finished(work)
        if isinstance(outcome, Failure):
            timing = {"queued": _ms(begun - work.admitted), "total": _ms(now - work.admitted)}
            self._fail(batch, work.index, outcome, work.attempts, timing)
        else:
            self._succeed(work, outcome, begun)

    def _succeed(self, work: Work, fetched: Fetched, begun: float) -> None:
        batch = work.batch
        encoding, body = encode_body(fetched.body, batch.options.body, fetched.charset)
        event = {
            "event": "result",
            "index": work.index,
            "url": work.request.url,
            "final_url": str(fetched.target.url),
            "status": fetched.status,
            "headers": fetched.headers,
            "bytes": len(fetched.body),
            "truncated": fetched.truncated,
            "encoding": encoding,
            "body": body,
            "attempts": work.attempts,
            "cache": "miss",
            "timing": {"queued": _ms(begun - work.admitted), **fetched.timing},
        }
        self.ok += 1
        self._tell(batch, batch.succeed(work.index, fetched.status, event))

    def _reject(self, batch: BatchState, index: int, failure: Failure) -> None:
        self._fail(batch, index, failure, 0)

    def _fail(
        self,
        batch: BatchState,
        index: int,
        failure: Failure,
        attempts: int,
        timing: dict[str, float] | None = None,
    ) -> None:
        if batch.finished[index]:
            return
        self.failed += 1
        self._tell(batch, batch.fail(index, failure, attempts, timing or {}))

    def _tell(self, batch: BatchState, event: bytes) -> None:
        now = self._loop.time()
        self._hub.append(batch.topic, event, now)
        batch.sums.append(batch.topic.size)
        if batch.complete:
            self._plan.remove(batch)
            self._hub.append(batch.topic, batch.finish(now), now)
            batch.sums.append(batch.topic.size)
            self._hub.finish(batch.topic)
            self._finished.append(batch)
            self._loop.call_later(self._limits.retention, self._drop, batch)

    def _drop(self, batch: BatchState) -> None:
        """Forget a finished batch."""
        if self._batches.pop(batch.id, None) is not None:
            self._finished.remove(batch)
            self._hub.drop(batch.topic)

    def document(self, batch: BatchState) -> bytes:
        """Return state and counts as ``GET /batches/ID`` has them."""
        state = "done" if batch.done else "cancelling" if batch.cancelled else "running"
        return orjson.dumps({"batch": batch.id, "topic": batch.topic.name, "epoch": batch.topic.epoch,
                             "state": state, **batch.counts()})  # fmt: skip

    def cancel_all(self) -> None:
        """Cancel every running batch: the drain's deadline has come."""
        for batch in tuple(self._batches.values()):
            if not batch.done:
                self.cancel(batch.id)

    async def close(self) -> None:
        """End every task."""
        self.draining = True
        self.cancel_all()
        if self._timer is not None:
            self._timer.cancel()
        for timer in self._lingers.values():
            timer.cancel()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retry_after(outcome: Fetched | Failure) -> float | None:
    """Return the seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3); dates are left to the jitter."""
    if isinstance(outcome, Failure):
        return outcome.retry_after
    text = outcome.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
