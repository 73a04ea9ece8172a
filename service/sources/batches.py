"""Every batch by id: its beginning, its events in its topic, its end.

How long a batch lives is decided here: who keeps it alive while it runs, how long it stays afterwards,
and how much its readers may leave lying before it has to wait for them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from service.core.access.grants import EVERYTHING, Grant
from service.core.correlation import Correlation
from service.core.errors import Draining, InvalidParams, NotFound, Overloaded
from service.core.fetching.batch import BatchLimits, BatchRequest, BatchState, IdempotencyKey, Keep, check_request
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.core.pending import when_known
from service.core.pool import Pool
from service.core.room import ENDLESS, Room
from service.core.topics.hub import Hub
from service.sources.held_batches import HeldBatches
from service.sources.retention import Retention
from service.upstream.content.result_events import result_event
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner

__all__ = ["Batches", "BatchesStatistics"]

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
    failures: dict[str, int]
    """How many failed, by their kind."""
    waiting: int
    """How many wait for memory."""
    given_up: int
    outgrown: int
    """Events that were given up, and batches whose URLs failed for want of memory."""


class Batches:
    """All batches, running and retained."""

    def __init__(
        self, hub: Hub, fetcher: Fetcher, runner: Runner, limits: BatchLimits, *, new_id: Callable[[], str],
        room: Room = ENDLESS,
    ) -> None:  # fmt: skip
        self.draining = False
        self.total_ok = 0
        self._failures: Counter[str] = Counter()
        self._hub = hub
        self.reading = fetcher.reading
        self._limits = limits
        self._credit = max(1, limits.credit)
        self._new_id = new_id
        self._loop = asyncio.get_running_loop()
        self._runner = runner
        self._batches: dict[str, BatchState] = {}
        self.retention = Retention(hub, limits.retained_bytes, self._drop, room)
        self._finished = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.pool = Pool("batches", limits.batches, advice="wait for one to end")
        self.queued = Pool(
            "queued_bytes", limits.queued_bytes, error=Overloaded, advice="wait for its batches to be fetched"
        )
        """Bytes of the requests of batches that run."""
        self._keys: dict[IdempotencyKey, BatchState] = {}
        self._holding = HeldBatches(runner.wake)

    def __repr__(self) -> str:
        return f"<Batches {self.running} running, {self._finished} retained, {self._runner!r}>"

    @property
    def running(self) -> int:
        """How many are not done."""
        return len(self._batches) - self._finished

    @property
    def shortage(self) -> str:
        """Say how many batches wait for memory; empty where none does."""
        return self.retention.shortage

    def under_way(self) -> Iterator[BatchState]:
        """Return the batches that are not done, the newest first."""
        return (batch for batch in reversed(self._batches.values()) if not batch.done)

    def statistics(self) -> BatchesStatistics:
        """Return an immutable snapshot."""
        return BatchesStatistics(
            self.running,
            self._finished,
            self._runner.active,
            self.total_ok,
            self._failures.total(),
            dict(self._failures),
            self.retention.waiting,
            self.retention.given_up,
            self.retention.outgrown,
        )

    def start(
        self,
        request: BatchRequest,
        *,
        owner: Owner,
        keep: Keep,
        key: IdempotencyKey | None = None,
        grant: Grant = EVERYTHING,
        correlation: Correlation | None = None,
    ) -> BatchState:
        """Begin a batch, or return the one that was begun with this key; its events are in the topic ``batch:ID``.

        Raises SluiceError to refuse it whole; InvalidParams where the key came with another body before.
        """
        if key is not None and (before := self._begun_with(key)) is not None:
            if keep is Keep.DETACHED:
                before.keep = keep
                self._holding.wake(before)
            return before
        if self.draining:
            raise Draining("the service is shutting down")
        items = check_request(request, self._limits)
        self.pool.check(owner)
        self.queued.check(owner)
        batch_id = self._new_id()
        if self._hub.owners.room(owner) < 1:
            self.retention.drop_oldest(owner)
        topic = self._hub.log(f"batch:{batch_id}", owner)
        batch = BatchState(
            batch_id, topic, owner, keep, items, request.options, self._hub.clock(), self, key,
            grant.fetch, grant.limits.fetches, correlation,
        )  # fmt: skip
        if key is not None:
            self._keys[key] = batch
        self.pool.take(owner, 1)
        self.queued.take(owner, batch.weight)
        topic.on_idle = lambda: self._left(batch)
        self._batches[batch_id] = batch
        self.retention.add(batch)
        if keep is not Keep.DETACHED:
            # Its reader comes at once, or never: the client may have gone meanwhile.
            self._time(batch, self._limits.linger, self._abandon)
        self._runner.add(batch)
        return batch

    def _begun_with(self, key: IdempotencyKey) -> BatchState | None:
        before = self._keys.get(key)
        if before is not None and before.key is not None and before.key.digest != key.digest:
            raise InvalidParams("Idempotency-Key: was used with another body")
        return before

    def find(self, batch_id: str) -> BatchState:
        """Return the batch, or raise NotFound."""
        if (batch := self._batches.get(batch_id)) is None:
            raise NotFound("the batch does not exist or has expired")
        return batch

    def cancel(self, batch_id: str) -> int:
        """End a batch and return how many of its URLs had not finished; each of them fails as ``cancelled``."""
        batch = self.find(batch_id)
        if batch.done or batch.cancelled:
            return 0
        batch.cancelled = True
        self._runner.cancel(batch)
        left = batch.total - batch.ok - batch.failed
        self._fail_rest(batch, 0)
        return left

    def _fail_rest(self, batch: BatchState, index: int) -> None:
        """Fail what was cancelled, a slice a turn."""
        room = _SLICE
        while room and index < batch.total:
            if not batch.finished[index]:
                self.failed(batch, index, Failure("cancelled", "the batch was cancelled"), 0, {})
                room -= 1
            index += 1
        if index < batch.total:
            self._loop.call_soon(self._fail_rest, batch, index)

    def _left(self, batch: BatchState) -> None:
        """Decide how long a batch goes on whose last reader has left."""
        if batch.done or batch.keep is Keep.DETACHED:
            return
        self._time(batch, self._limits.linger if batch.keep is Keep.LINGER else 0.0, self._abandon)

    def _abandon(self, batch: BatchState) -> None:
        if not (batch.topic.readers or batch.done or batch.keep is Keep.DETACHED):
            # A client that tries again after a cut wants the URLs, and not the events of what was cancelled for it.
            self._forget_key(batch)
            self.cancel(batch.id)

    def _time(self, batch: BatchState, delay: float, then: Callable[[BatchState], None]) -> None:
        """Set the batch's one timer: how long it waits for a reader, and how long it stays when it is done."""
        if (timer := self._timers.pop(batch.id, None)) is not None:
            timer.cancel()
        self._timers[batch.id] = self._loop.call_later(delay, then, batch)

    def admit(self, group: BatchState) -> Permit | Failure:
        """Hold a batch back while its reader or the store has much to take, or its owner has used up its memory."""
        permit: Permit | Failure = Permit.HOLD
        in_credit = group.keep is Keep.DETACHED or group.unread < self._credit
        may_read = not self.reading.used or self.reading.room(group.owner) > 0
        if in_credit and may_read and self._hub.unstored.has_room(group.owner):
            permit = self.retention.admit(group)
        if permit is Permit.HOLD:
            self._holding.add(group)
        return permit

    def succeeded(
        self, group: BatchState, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool
    ) -> None:
        """Append a result, unless the URL has its event already; ``queued`` is in seconds."""
        if group.finished[task.index]:
            return
        if (refused := self.retention.refuses(group, len(fetched.body))) is not None:
            self.failed(group, task.index, refused, task.attempts, fetched.timing)
            return
        cache = "shared" if shared else fetched.cache
        url, mode = task.request.url, group.options.body
        event = result_event(task.index, url, fetched, mode, task.attempts, cache, queued)
        self.retention.append(group, event, self._hub.clock())
        self.total_ok += 1
        group.succeed(task.index, fetched.status)
        self._after_event(group)

    def failed(
        self, group: BatchState, index: int, failure: Failure, attempts: int, timing: dict[str, float]
    ) -> None:
        """Append a failure, unless the URL has its event already; the times are in milliseconds."""
        if group.finished[index]:
            return
        self.retention.append_failure(group, index, failure, attempts, timing, self._hub.clock())
        self._failures[failure.kind] += 1
        group.fail(index)
        self._after_event(group)

    def _after_event(self, batch: BatchState) -> None:
        """Wake a batch that is held back, and end it if that was its last event."""
        if batch.id in self._holding.held:
            self._holding.wake(batch)
        if batch.complete:
            self._runner.forget(batch)
            self.pool.give_back(batch.owner, 1)
            self.queued.give_back(batch.owner, batch.weight)
            now = self._hub.clock()
            last = self.retention.append_done(batch, batch.finish(now), now)
            when_known(last, lambda _: self._ended(batch))

    def _ended(self, batch: BatchState) -> None:
        """Go on after the last event of a batch was stored: from now on it is retained."""
        self._finished += 1
        self._hub.finish(batch.topic)
        self._time(batch, self._limits.retention, self._drop)
        self.retention.finish(batch)

    def _forget_key(self, batch: BatchState) -> None:
        if batch.key is not None and self._keys.get(batch.key) is batch:
            del self._keys[batch.key]

    def _drop(self, batch: BatchState) -> None:
        """Forget a finished batch."""
        self._forget_key(batch)
        del self._batches[batch.id]
        self._timers.pop(batch.id).cancel()
        self._finished -= 1
        self.retention.forget(batch)

    def document(self, batch: BatchState) -> bytes:
        """Return state and counts as ``GET /batches/ID`` has them."""
        state = "done" if batch.topic.final else "cancelling" if batch.cancelled else "running"
        return orjson.dumps({"batch": batch.id, "topic": batch.topic.name, "epoch": batch.topic.epoch,
                             "state": state, **batch.counts()})  # fmt: skip

    def cancel_all(self) -> None:
        """Cancel every running batch: the drain's deadline has come."""
        for batch in tuple(self.under_way()):
            self.cancel(batch.id)

    def close(self) -> None:
        """End every batch."""
        self.draining = True
        self.cancel_all()
        self._holding.close()
        for timer in self._timers.values():
            timer.cancel()
