"""Batches on disk: how many bytes of events each owner may keep there, and what is deleted when they are used up.

A finished batch that nobody reads makes room for what comes next: the oldest of the owner that keeps most, or of
the owner that needs room. If there is none, a new batch is refused, and the remaining URLs of a running one fail
as ``too_large``. Requests are not counted here: ``queued_bytes`` bounds them, and a finished batch has none.
"""

import logging
from collections.abc import Callable
from typing import Final

from service.core.fetching.batch import Batch
from service.core.fetching.outcome import Failure
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.runtime.containment import contain
from service.sources.batch_shares import share_fields, too_large
from service.sources.batches_by_owner import BatchesByOwner

__all__ = ["StoredBatches"]

_log = logging.getLogger("sluice.batches")

_BATCH: Final = 1024
_EVENT: Final = 128
"""Bytes that the rows of a batch, and of each of its events, take in addition to the events themselves."""


class StoredBatches:
    """What batches hold on disk, running and finished; ``drop`` forgets a finished one."""

    def __init__(self, bound: int, drop: Callable[[Batch], None]) -> None:
        self.pool = Pool("stored_batches", bound, eager=FOUR_FIFTHS, advice="wait for its batches to end")
        self._drop = drop
        self._finished = BatchesByOwner()

    def __repr__(self) -> str:
        return f"<StoredBatches {self.pool!r}>"

    def check(self, owner: Owner) -> None:
        """Raise LimitReached where an owner has no room for another batch."""
        if not self._make_room(owner, _BATCH):
            raise self.pool.refusal(owner)

    def add(self, batch: Batch) -> None:
        """Count a batch in; one that is in memory alone is not counted."""
        if batch.topic.history is not None:
            self.pool.take(batch.owner, _size_of(batch))

    def grow(self, batch: Batch, size: int) -> None:
        """Count in one more event of this many bytes."""
        if batch.topic.history is not None:
            self.pool.take(batch.owner, size + _EVENT)

    def admit(self, batch: Batch) -> Failure | None:
        """Return why the remaining URLs of a batch fail; None if there is room for another event."""
        if batch.topic.history is None:
            return None
        if not batch.outgrown:
            if self._make_room(batch.owner, _EVENT):
                return None
            batch.outgrown = True
            self.pool.refused += 1
            _log.warning("a batch outgrew its share of the disk", extra=share_fields(batch, self.pool))
        return self._too_large(batch)

    def refuses(self, batch: Batch, size: int) -> Failure | None:
        """Return why a result of this many bytes is not kept; None if it is."""
        if batch.topic.history is None or self._make_room(batch.owner, size + _EVENT):
            return None
        return self._too_large(batch)

    def finish(self, batch: Batch) -> None:
        """Record that a batch is done: from now on it may be dropped while nobody reads it."""
        if batch.topic.history is not None:
            self._finished.add(batch)

    def forget(self, batch: Batch) -> None:
        """Stop counting a finished batch."""
        if self._finished.remove(batch):
            self.pool.give_back(batch.owner, _size_of(batch))

    def _make_room(self, owner: Owner, size: int) -> bool:
        """Drop finished batches until an owner has room for that size; return whether it has."""
        pool = self.pool
        while (full := not pool.fits(owner, size)) or pool.used + size > pool.bound:
            victim = self._oldest_of_largest(pool.held(owner) + size)
            if victim is None and full:
                victim = self._finished.oldest_unread(owner)
            if victim is None:
                break
            pool.refused += 1
            contain("a finished batch could not be dropped", self._drop, victim)
            self.forget(victim)  # otherwise one that cannot be dropped would be found again
        return not full

    def _oldest_of_largest(self, held: int) -> Batch | None:
        """Return the batch to drop of the owner that keeps most; None if that owner keeps no more than ``held``."""
        largest = self.pool.largest()
        if largest is None or self.pool.held(largest) <= held:
            return None
        return self._finished.oldest_unread(largest)

    def _too_large(self, batch: Batch) -> Failure:
        what = "the batches of this client on disk"
        return too_large(batch, self.pool, what, "wait for others to end")


def _size_of(batch: Batch) -> int:
    return _BATCH + len(batch.sums) * _EVENT + (batch.sums[-1] if batch.sums else 0)
