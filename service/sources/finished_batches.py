"""Finished batches that nobody reads: they have the memory that others leave them, and give way first."""

from collections.abc import Callable

from service.core.fetching.batch import Batch
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.topics.hub import Hub
from service.runtime.containment import contain
from service.sources.batches_by_owner import BatchesByOwner

__all__ = ["FinishedBatches"]


class FinishedBatches:
    """By owner, the oldest first; ``drop`` forgets a batch. Those on disk only leave memory."""

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
        self.pool.take(batch.owner, batch.topic.size)
        self._batches.add(batch)

    def remove(self, batch: Batch) -> bool:
        """Take out a batch; return whether it was here."""
        found = self._batches.remove(batch)
        if found:
            self.pool.give_back(batch.owner, batch.topic.size)
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
            self.pool.give_back(owner, self._hub.spill(batch.topic, batch.topic.size))
            self.spilled += batch.topic.ring.spilled - before
