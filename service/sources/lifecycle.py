"""The life of a batch: accepted within its owner's pools, kept alive while it runs, kept on, and forgotten.

    state      | accepted | refused | url_ends   | last_ends | cancel     | abandon    | stored | expire
    -----------|----------|---------|------------|-----------|------------|------------|--------|-------
    ACCEPTING  | RUNNING  | GONE    |            |           |            |            |        |
    RUNNING    |          |         | RUNNING    | STORING   | CANCELLING | CANCELLING |        |
    CANCELLING |          |         | CANCELLING | STORING   | CANCELLING | CANCELLING |        |
    STORING    |          |         |            |           | STORING    | STORING    | KEPT   |
    KEPT       |          |         |            |           | KEPT       | KEPT       |        | GONE
    GONE       |          |         |            |           |            |            |        |

*Accepted* and *refused* are answers of the store of batches; until then only its client knows of the batch. It
holds its places in the pools from the request until its last URL has ended. *Cancel* takes effect when it is
stored; then the remaining URLs fail, some in each turn. *Abandon*: ``Keep`` says how long a batch goes on without
a reader. *Stored*: its last event, ``done``, is stored; from then on it is kept for as long as the setting says.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import accumulate

from service.core.batch_store import BatchStore, KeptBatch
from service.core.errors import InvalidParams, Overloaded
from service.core.fetching.batch import Batch, BatchLimits, IdempotencyKey, Keep
from service.core.fetching.task import FetchListener
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pool import Pool
from service.core.topics.hub import Hub

__all__ = ["Lifecycle", "restored"]


class Lifecycle:
    """What batches hold until they are done, and one timer for each: how long it waits for a reader, or is kept.

    ``began`` is called with a batch that the store has accepted after a wait, ``refused`` with one that it has
    refused, ``abandoned`` with one that has waited too long for a reader, and ``expired`` with one that has been
    kept long enough.
    """

    def __init__(
        self, store: BatchStore, limits: BatchLimits, began: Callable[[Batch], None],
        refused: Callable[[Batch], None], abandoned: Callable[[Batch], None], expired: Callable[[Batch], None],
    ) -> None:  # fmt: skip
        self.pool = Pool("batches", limits.batches, advice="wait for one to end")
        self.queued = Pool(
            "queued_bytes", limits.queued_bytes, error=Overloaded, advice="wait for its batches to be fetched"
        )
        """Bytes of the requests of batches that run."""
        self.keys: dict[IdempotencyKey, Batch] = {}
        self._store = store
        self._began = began
        self._refused = refused
        self._linger = limits.linger
        self._retention = limits.retention
        self._abandoned = abandoned
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<Lifecycle {self.pool!r}, {len(self.keys)} keys, {len(self._timers)} timers>"

    def begun_with(self, key: IdempotencyKey | None) -> Batch | None:
        """Return the batch that was begun with a key; raise InvalidParams if that came with another body."""
        before = None if key is None else self.keys.get(key)
        if before is not None and key is not None and before.key is not None and before.key.digest != key.digest:
            raise InvalidParams("Idempotency-Key: was used with another body")
        return before

    def check(self, owner: Owner) -> None:
        """Raise LimitReached or Overloaded where an owner has no room for another batch."""
        self.pool.check(owner)
        self.queued.check(owner)

    def accept(self, batch: Batch) -> bool:
        """Have the store accept a batch; return whether it begins now, and not when the store answers."""
        self.charge_places(batch)
        try:
            batch.accepted = self._store.begin(batch)
        except Exception:
            self._refuse(batch)
            raise
        if batch.accepted is None:
            return True
        # Added first, so that the batch has begun, or is gone, before its client is answered.
        batch.accepted.on_settled(partial(self._answered, batch))
        return False

    def _answered(self, batch: Batch, outcome: Batch | Exception) -> None:
        if isinstance(outcome, Exception):
            self._refuse(batch)
        else:
            self._began(batch)

    def _refuse(self, batch: Batch) -> None:
        self.forget_key(batch)
        self.release_places(batch)
        self._refused(batch)

    def detach(self, batch: Batch, then: Callable[[Batch], None]) -> None:
        """Have a batch go on without its readers; call back when that is stored."""

        def answered(outcome: Batch | Exception) -> None:
            if not isinstance(outcome, Exception):
                batch.keep = Keep.DETACHED
                then(batch)
            elif batch.accepted is stored:
                # The batch goes on as it was: a later request for it is not to get this error.
                batch.accepted = None

        stored = self._store.change(batch, Keep.DETACHED, cancelled=batch.cancelled)
        batch.accepted = stored
        if stored is None:
            answered(batch)
        else:
            stored.on_settled(answered)

    def cancel(self, batch: Batch, then: Callable[[Batch], int]) -> int | Pending[int]:
        """Have the store record that a batch is cancelled, and return what ``then`` returns after that."""
        stored = self._store.change(batch, batch.keep, cancelled=True)
        return then(batch) if stored is None else stored.then(then)

    def charge_places(self, batch: Batch) -> None:
        """Count a batch in, whether or not there is room."""
        if batch.key is not None:
            self.keys[batch.key] = batch
        self.pool.charge(batch.owner, 1)
        self.queued.charge(batch.owner, batch.weight)

    def release_places(self, batch: Batch) -> None:
        """Count a batch out: it is done."""
        self.pool.release(batch.owner, 1)
        self.queued.release(batch.owner, batch.weight)

    def forget_key(self, batch: Batch) -> None:
        """Have the batch's key begin another one."""
        if batch.key is not None and self.keys.get(batch.key) is batch:
            del self.keys[batch.key]

    def begin(self, batch: Batch) -> None:
        """Wait for the first reader: it comes at once, or never, as the client may have gone meanwhile."""
        batch.topic.on_idle = lambda: self._left(batch)
        if batch.keep is not Keep.DETACHED:
            self._time(batch, self._linger, self._abandon)

    def _left(self, batch: Batch) -> None:
        """Decide how long a batch goes on whose last reader has left."""
        if not batch.done and batch.keep is not Keep.DETACHED:
            self._time(batch, self._linger if batch.keep is Keep.LINGER else 0.0, self._abandon)

    def _abandon(self, batch: Batch) -> None:
        if batch.accepted is not None and not batch.accepted.known:
            # Whether it goes on without its readers is being stored, and its client is answered then.
            self._time(batch, self._linger, self._abandon)
        elif not (batch.topic.readers or batch.done or batch.keep is Keep.DETACHED):
            self._abandoned(batch)

    def end(self, batch: Batch, passed: float = 0.0) -> None:
        """Keep a batch on whose last event was stored so many seconds ago."""
        self._store.end(batch)
        self._time(batch, max(0.0, self._retention - passed), self._expired)

    def forget(self, batch: Batch) -> None:
        """Take out a batch that is gone."""
        self.forget_key(batch)
        self._stop(batch)

    def close(self) -> None:
        """End all waiting."""
        for timer in self._timers.values():
            timer.cancel()

    def _time(self, batch: Batch, delay: float, then: Callable[[Batch], None]) -> None:
        self._stop(batch)
        self._timers[batch.id] = self._loop.call_later(delay, then, batch)

    def _stop(self, batch: Batch) -> None:
        if (timer := self._timers.pop(batch.id, None)) is not None:
            timer.cancel()


def restored(kept: KeptBatch, hub: Hub, listener: FetchListener[Batch]) -> Batch:
    """Return a batch from before a restart as it was, and make its topic; URLs that have ended are not fetched."""
    topic = hub.log(f"batch:{kept.id}", kept.owner, restored=True)
    batch = Batch(
        kept.id, topic, kept.owner, kept.keep, kept.items, kept.options, kept.started, listener, kept.key,
        kept.hosts, kept.share, kept.correlation,
    )  # fmt: skip
    batch.recall(kept.outcomes)
    batch.sums = list(accumulate(kept.sizes))
    batch.cancelled = kept.cancelled
    if kept.ended is not None:
        batch.done, batch.elapsed_ms = True, kept.elapsed_ms
    return batch
