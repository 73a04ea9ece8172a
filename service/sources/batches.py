"""Every batch by id: its beginning, its events in its topic, its end.

A batch counts from the moment on at which the store has accepted it. How much its readers may leave lying before it
has to wait for them is decided here; how long it lives, in ``lifecycle.py``.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import orjson

from service.core.access.grants import EVERYTHING, Grant
from service.core.batch_store import BatchStore, KeptBatch, MemoryBatches
from service.core.correlation import Correlation
from service.core.errors import Draining, NotFound, SluiceError
from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, IdempotencyKey, Keep, check_request
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.task import FetchTask
from service.core.memory_budget import UNLIMITED, MemoryBudget
from service.core.owner import Owner
from service.core.pending import Pending, when_known
from service.core.topics.hub import Hub
from service.sources.batch_shares import StoredBatches
from service.sources.batches_statistics import BatchesStatistics
from service.sources.held_batches import HeldBatches
from service.sources.lifecycle import Lifecycle, restored
from service.sources.outcomes import OutcomeRecorder, rounded
from service.sources.retention import Retention
from service.sources.stepping import BatchSteps, Stepped
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from service.work.step_runner import StepRunner

__all__ = ["Batches"]

_SLICE: Final = 500
"""Events that are written in one turn when a batch is cancelled; 3 us each."""
_CANCELLED: Final = Failure("cancelled", "the batch was cancelled")


class Batches:
    """All batches, running and retained."""

    def __init__(
        self, hub: Hub, fetcher: Fetcher, runner: Runner, limits: BatchLimits, *, new_id: Callable[[], str],
        memory: MemoryBudget = UNLIMITED, store: BatchStore | None = None, steps: StepRunner | None = None,
    ) -> None:  # fmt: skip
        self.draining = False
        self._hub = hub
        self.reading = fetcher.reading
        self._limits = limits
        self._credit = max(1, limits.credit)
        self._new_id = new_id
        self._loop = asyncio.get_running_loop()
        self._runner = runner
        self._batches: dict[str, Batch] = {}
        self.stored = StoredBatches(limits.stored_bytes, self._drop)
        self.retention = Retention(hub, limits.retained_bytes, self._drop, self.stored, memory)
        self._finished = 0
        self._store: BatchStore = MemoryBatches() if store is None else store
        self.lifecycle = Lifecycle(self._store, limits, self._begin, self._refused, self._abandon, self._drop)
        self._holding = HeldBatches(runner.wake)
        self.outcomes = OutcomeRecorder(hub, self.retention)
        self.stepping = BatchSteps(steps, self._stepped, self.retention.append_progress)

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

    def under_way(self) -> Iterator[Batch]:
        """Return the batches that are not done, the newest first."""
        return (batch for batch in reversed(self._batches.values()) if not batch.done)

    def statistics(self) -> BatchesStatistics:
        """Return an immutable snapshot."""
        return BatchesStatistics(
            self.running,
            self._finished,
            self._runner.active,
            self.outcomes.ok,
            self.outcomes.failures.total(),
            dict(self.outcomes.failures),
            self.retention.waiting,
            self.retention.given_up,
            self.retention.outgrown,
            self.retention.spilled + self.retention.finished.spilled,
        )

    def check(self, request: BatchRequest) -> None:
        """Raise InvalidParams or TooLarge for what could never be begun."""
        check_request(request, self._limits)
        self.stepping.check(request.options.steps)

    def start(
        self,
        request: BatchRequest,
        *,
        owner: Owner,
        keep: Keep,
        key: IdempotencyKey | None = None,
        grant: Grant = EVERYTHING,
        correlation: Correlation | None = None,
    ) -> Batch:
        """Begin a batch, or return the one that was begun with this key; its events are in the topic ``batch:ID``.

        Raises SluiceError to refuse it whole; InvalidParams where the key came with another body before.
        """
        if (before := self.lifecycle.begun_with(key)) is not None:
            if keep is Keep.DETACHED and before.keep is not keep:
                self.lifecycle.detach(before, self._holding.wake)
            return before
        if self.draining:
            raise Draining("the service is shutting down")
        items = check_request(request, self._limits)
        steps = self.stepping.plan(request.options.steps, owner)
        self.lifecycle.check(owner)
        self.stored.check(owner)
        batch_id = self._new_id()
        if self._hub.owners.room(owner) < 1:
            self.retention.finished.drop_oldest(owner)
        topic = self._hub.log(f"batch:{batch_id}", owner)
        batch = Batch(
            batch_id, topic, owner, keep, items, request.options, self._hub.clock(), self, key,
            grant.fetch, grant.limits.fetches, correlation,
        )  # fmt: skip
        self.stepping.add(batch, steps)
        if self.lifecycle.accept(batch):
            self._begin(batch)
        return batch

    def _refused(self, batch: Batch) -> None:
        self.stepping.end(batch)
        self._hub.drop(batch.topic)

    def _begin(self, batch: Batch) -> None:
        self._batches[batch.id] = batch
        self.retention.add(batch)
        self.lifecycle.begin(batch)
        self._runner.add(batch)

    def restore(self, kept: KeptBatch) -> None:
        """Go on with a batch of before a restart, or keep it on where it is done."""
        batch = restored(kept, self._hub, self)
        self.lifecycle.charge_places(batch)
        self._batches[batch.id] = batch
        self.retention.add(batch)
        if kept.ended is not None:
            self.lifecycle.release_places(batch)
            batch.items = []
            self._ended(batch, self._hub.clock() - kept.ended)
            return
        self.lifecycle.begin(batch)
        for index in kept.damaged:
            self.failed(batch, index, Failure("invalid_request", "it was damaged on disk"), 0, {})
        if batch.complete and not batch.done:
            self._complete(batch)
        elif batch.cancelled:
            self._fail_rest(batch, 0)
        elif not batch.done:
            self._go_on(batch)

    def _go_on(self, batch: Batch) -> None:
        """Fetch what is left of a batch of before a restart; its steps may not be there any more."""
        try:
            self.stepping.add(batch, self.stepping.plan(batch.options.steps, batch.owner))
        except SluiceError as error:
            self._fail_rest(batch, 0, Failure("step_failed", error.detail))
        else:
            self._runner.add(batch)

    def find(self, batch_id: str) -> Batch:
        """Return the batch, or raise NotFound."""
        if (batch := self._batches.get(batch_id)) is None:
            raise NotFound("the batch does not exist or has expired")
        return batch

    def cancel(self, batch_id: str) -> int | Pending[int]:
        """End a batch and return how many of its URLs had not finished; each of them fails as ``cancelled``."""
        batch = self.find(batch_id)
        if batch.done or batch.cancelled:
            return 0
        return self.lifecycle.cancel(batch, self._cancel)

    def _cancel(self, batch: Batch) -> int:
        if batch.done or batch.cancelled:
            return 0
        batch.cancelled = True
        self._runner.cancel(batch)
        self.stepping.end(batch)
        left = batch.total - batch.ok - batch.failed
        self._fail_rest(batch, 0)
        return left

    def _fail_rest(self, batch: Batch, index: int, failure: Failure = _CANCELLED) -> None:
        """Fail what has no event, a slice a turn."""
        room = _SLICE
        while room and index < batch.total:
            if not batch.finished[index]:
                self.failed(batch, index, failure, 0, {})
                room -= 1
            index += 1
        if index < batch.total:
            self._loop.call_soon(self._fail_rest, batch, index, failure)

    def _abandon(self, batch: Batch) -> None:
        """End a batch that nobody reads; where that cannot be stored now, it is found again after a restart."""
        # A client that tries again after a cut wants the URLs, and not the events of what was cancelled for it.
        self.lifecycle.forget_key(batch)
        self.lifecycle.cancel(batch, lambda _: 0)
        self._cancel(batch)

    def admit(self, group: Batch) -> Permit | Failure:
        """Hold a batch back while its reader or the store has much to take, or its owner has used up its memory."""
        if (full := self.stored.admit(group)) is not None:
            return full
        permit: Permit | Failure = Permit.HOLD
        in_credit = (group.keep is Keep.DETACHED or group.unread < self._credit) and self.stepping.has_room(group)
        may_read = not self.reading.used or self.reading.room(group.owner) > 0
        if in_credit and may_read and self._hub.pending_appends.has_room(group.owner):
            permit = self.retention.admit(group)
        if permit is Permit.HOLD:
            self._holding.add(group)
        return permit

    def succeeded(self, group: Batch, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Append a result, or have the steps carried out first; ``queued`` is in seconds."""
        stepping = group.options.steps is not None and self.stepping.begin(group, task, fetched, queued, shared)
        if not stepping and self.outcomes.result(group, task, fetched, queued, shared=shared):
            self._after_event(group)

    def _stepped(self, one: Stepped) -> None:
        if self.outcomes.stepped(one):
            self._after_event(one.batch)

    def failed(self, group: Batch, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Append a failure; the times are in milliseconds."""
        if self.outcomes.failure(group, index, failure, attempts, timing):
            self._after_event(group)

    def _after_event(self, batch: Batch) -> None:
        """Wake a batch that is held back, and end it if that was its last event."""
        if batch.id in self._holding.held:
            self._holding.wake(batch)
        if batch.complete:
            self._complete(batch)

    def _complete(self, batch: Batch) -> None:
        """Append the last event."""
        self._runner.forget(batch)
        self.stepping.end(batch)
        self.lifecycle.release_places(batch)
        now = self._hub.clock()
        last = self.retention.append_done(batch, batch.finish(now), now)
        when_known(last, lambda _: self._ended(batch))

    def _ended(self, batch: Batch, passed: float = 0.0) -> None:
        """Go on after the last event of a batch was stored, so many seconds ago: from then on it is retained."""
        self._finished += 1
        self._hub.finish(batch.topic)
        self.lifecycle.end(batch, passed)
        self.retention.finish(batch)
        if batch.on_ended is not None:
            batch.on_ended()

    def _drop(self, batch: Batch) -> None:
        """Forget a finished batch."""
        self.lifecycle.forget(batch)
        del self._batches[batch.id]
        self._finished -= 1
        self.retention.forget(batch)

    def document(self, batch: Batch) -> bytes:
        """Return state and counts as ``GET /batches/ID`` has them."""
        state = "done" if batch.topic.final else "cancelling" if batch.cancelled else "running"
        return orjson.dumps({"batch": batch.id, "topic": batch.topic.name, "epoch": batch.topic.epoch,
                             "state": state, **batch.counts(), "time_ms": rounded(batch.time_ms)})  # fmt: skip

    def cancel_all(self) -> None:
        """Cancel every running batch that does not go on after a restart: the drain's deadline has come."""
        for batch in tuple(self.under_way()):
            if batch.keep is Keep.ATTACHED or not self._store.outlives:
                self._cancel(batch)

    def close(self) -> None:
        """End every batch."""
        self.draining = True
        self.cancel_all()
        self._holding.close()
        self.lifecycle.close()
