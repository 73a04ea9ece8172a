"""What the batches of each owner hold of what all owners share: the disk, and the memory that running ones leave.

A finished batch that nobody reads makes room for what comes next: the oldest of the owner that keeps most, or of
the owner that needs room. If there is none, a new batch is refused, and the remaining URLs of a running one fail
as ``too_large``. Requests are not counted here: ``queued_bytes`` bounds them, and a finished batch has none.
"""

import logging
from collections.abc import Callable, Collection
from typing import Final

from service.core.fetching.batch import Batch
from service.core.fetching.outcome import Failure
from service.core.fetching.task import asker_of
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.core.topics.hub import Hub
from service.runtime.containment import contain

__all__ = ["BatchesByOwner", "FinishedBatches", "StoredBatches", "share_fields", "too_large"]

_log = logging.getLogger("sluice.batches")

_BATCH: Final = 1024
_EVENT: Final = 128
"""Bytes that the rows of a batch, and of each of its events, take in addition to the events themselves."""


class BatchesByOwner:
    """Finished batches in the order in which they give way: by owner, the oldest first."""

    def __init__(self) -> None:
        self._batches: dict[Owner, dict[str, Batch]] = {}

    def __repr__(self) -> str:
        return f"<BatchesByOwner of {len(self._batches)} owners>"

    def add(self, batch: Batch) -> None:
        """Add a batch as the newest of its owner."""
        self._batches.setdefault(batch.owner, {})[batch.id] = batch

    def remove(self, batch: Batch) -> bool:
        """Remove a batch; return whether it was here."""
        batches = self._batches.get(batch.owner, {})
        found = batches.pop(batch.id, None) is not None
        if found and not batches:
            del self._batches[batch.owner]
        return found

    def of(self, owner: Owner) -> Collection[Batch]:
        """Return the batches of an owner, the oldest first."""
        return self._batches.get(owner, {}).values()

    def oldest(self, owner: Owner) -> Batch | None:
        """Return the oldest batch of an owner."""
        return next(iter(self.of(owner)), None)

    def oldest_unread(self, owner: Owner) -> Batch | None:
        """Return the oldest batch of an owner that nobody reads now."""
        return next((batch for batch in self.of(owner) if not batch.topic.readers), None)


class FinishedBatches:
    """What finished batches that nobody reads hold of memory; ``drop`` forgets one.

    Those that are on disk only leave memory.
    """

    def __init__(self, hub: Hub, bound: int, drop: Callable[[Batch], None]) -> None:
        self.pool = Pool("finished_batches", bound)
        """What they hold."""
        self.spilled = 0
        """Events that left memory since the start."""
        self._hub = hub
        self._drop = drop
        self._batches = BatchesByOwner()

    def __repr__(self) -> str:
        return f"<FinishedBatches {self.pool!r}>"

    def add(self, batch: Batch) -> None:
        """Take in a batch whose last reader has left."""
        self.pool.charge(batch.owner, batch.topic.size)
        self._batches.add(batch)

    def remove(self, batch: Batch) -> bool:
        """Take out a batch; return whether it was here."""
        found = self._batches.remove(batch)
        if found:
            self.pool.release(batch.owner, batch.topic.size)
        return found

    def drop_oldest(self, owner: Owner) -> None:
        """Forget the owner's oldest, if it has one."""
        if (batch := self._batches.oldest(owner)) is not None:
            self._drop(batch)

    def make_room(self) -> None:
        """Drop batches, the oldest of the owner that keeps most first, until all fit their bound."""
        while self._hub.log_bytes > self.pool.bound and (owner := self.pool.largest()) is not None:
            victim = self._batches.oldest_unread(owner) or self._batches.oldest(owner)
            assert victim is not None
            if victim.topic.history is not None:
                self._spill(owner)
                continue
            contain("a finished batch could not be dropped", self._drop, victim)
            self.remove(victim)  # otherwise one that cannot be dropped would be found again

    def _spill(self, owner: Owner) -> None:
        """Drop from memory all that an owner keeps."""
        for batch in self._batches.of(owner):
            before = batch.topic.ring.spilled
            self.pool.release(owner, self._hub.spill(batch.topic, batch.topic.size))
            self.spilled += batch.topic.ring.spilled - before


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
            self.pool.charge(batch.owner, _size_of(batch))

    def grow(self, batch: Batch, size: int) -> None:
        """Count in one more event of this many bytes."""
        if batch.topic.history is not None:
            self.pool.charge(batch.owner, size + _EVENT)

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
            self.pool.release(batch.owner, _size_of(batch))

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


def share_fields(batch: Batch, pool: Pool) -> dict[str, object]:
    """Return who reads a batch, and how much its owner holds of its share."""
    return {
        "batch": asker_of(batch),
        "readers": len(batch.topic.readers),
        "held_bytes": pool.held(batch.owner),
        "share_bytes": pool.share(batch.owner),
    }


def too_large(batch: Batch, pool: Pool, what: str, advice: str) -> Failure:
    """Say ``what`` uses up the share of a batch's owner, and what its client can do about it."""
    return Failure(
        "too_large",
        f"limit {pool.name}: {what} use up its share, {pool.share(batch.owner)} of {pool.bound} bytes; "
        f"{advice}, lower max_bytes, or split the batch",
    )
