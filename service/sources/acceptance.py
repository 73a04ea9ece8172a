"""Which batches are accepted: within the pools that owners share, once for each key, and stored first."""

from collections.abc import Callable
from functools import partial

from service.core.batch_store import BatchStore
from service.core.errors import InvalidParams, Overloaded
from service.core.fetching.batch import Batch, BatchLimits, IdempotencyKey, Keep
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pool import Pool

__all__ = ["Acceptance"]


class Acceptance:
    """What batches hold from their request on until they are done.

    ``began`` gets a batch that the store has accepted, ``refused`` one of which nothing is left.
    """

    def __init__(
        self,
        store: BatchStore,
        limits: BatchLimits,
        began: Callable[[Batch], None],
        refused: Callable[[Batch], None],
    ) -> None:
        self.pool = Pool("batches", limits.batches, advice="wait for one to end")
        self.queued = Pool(
            "queued_bytes", limits.queued_bytes, error=Overloaded, advice="wait for its batches to be fetched"
        )
        """Bytes of the requests of batches that run."""
        self.keys: dict[IdempotencyKey, Batch] = {}
        self._store = store
        self._began = began
        self._refused = refused

    def __repr__(self) -> str:
        return f"<Acceptance {self.pool!r}, {len(self.keys)} keys>"

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

    def accept(self, batch: Batch) -> None:
        """Have the store accept a batch; it begins now, or with the answer."""
        self.take_places(batch)
        batch.accepted = self._store.begin(batch)
        if batch.accepted is None:
            self._began(batch)
        else:
            # Added first, so that the batch has begun, or is gone, before its client is answered.
            batch.accepted.on_settled(partial(self._answered, batch))

    def _answered(self, batch: Batch, outcome: Batch | Exception) -> None:
        if isinstance(outcome, Exception):
            self.forget_key(batch)
            self.give_places_back(batch)
            self._refused(batch)
        else:
            self._began(batch)

    def detach(self, batch: Batch, then: Callable[[Batch], None]) -> None:
        """Have a batch go on without its readers; call back when that is stored."""

        def answered(outcome: Batch | Exception) -> None:
            if not isinstance(outcome, Exception):
                batch.keep = Keep.DETACHED
                then(batch)

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

    def take_places(self, batch: Batch) -> None:
        """Count a batch in, whether or not there is room."""
        if batch.key is not None:
            self.keys[batch.key] = batch
        self.pool.take(batch.owner, 1)
        self.queued.take(batch.owner, batch.weight)

    def give_places_back(self, batch: Batch) -> None:
        """Count a batch out: it is done."""
        self.pool.give_back(batch.owner, 1)
        self.queued.give_back(batch.owner, batch.weight)

    def forget_key(self, batch: Batch) -> None:
        """Have the batch's key begin another one."""
        if batch.key is not None and self.keys.get(batch.key) is batch:
            del self.keys[batch.key]
