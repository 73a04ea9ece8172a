"""Finished batches that nobody reads: they have the memory that others leave them, and give way first."""

from collections.abc import Callable

from service.core.fetching.batch import Batch
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.topics.hub import Hub
from service.runtime.containment import report

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
        self._batches: dict[Owner, dict[str, Batch]] = {}

    def __repr__(self) -> str:
        return f"<FinishedBatches {self.pool!r}>"

    def add(self, batch: Batch) -> None:
        """Take in a batch whose last reader has left."""
        self.pool.take(batch.owner, batch.topic.size)
        self._batches.setdefault(batch.owner, {})[batch.id] = batch

    def remove(self, batch: Batch) -> bool:
        """Take out a batch; return whether it was here."""
        if self._batches.get(batch.owner, {}).pop(batch.id, None) is None:
            return False
        self.pool.give_back(batch.owner, batch.topic.size)
        if not self._batches[batch.owner]:
            del self._batches[batch.owner]
        return True

    def drop_oldest(self, owner: Owner) -> None:
        """Forget the owner's oldest, if it has one."""
        batches = self._batches.get(owner)
        if batches:
            self._drop(next(iter(batches.values())))

    def make_room(self) -> None:
        """Drop batches, the oldest of the owner that keeps most first, until all fit their bound."""
        while self._hub.log_bytes > self.pool.bound and (owner := self.pool.largest()) is not None:
            batches = self._batches[owner]
            victim = next((one for one in batches.values() if not one.topic.readers), next(iter(batches.values())))
            if victim.topic.history is not None:
                self._spill(owner)
                continue
            try:
                self._drop(victim)
            except Exception as error:
                report("a finished batch could not be dropped", error)
                if batches.pop(victim.id, None) is not None:
                    self.pool.give_back(owner, victim.topic.size)

    def _spill(self, owner: Owner) -> None:
        """Drop from memory all that an owner keeps."""
        for batch in self._batches[owner].values():
            before = batch.topic.ring.spilled
            self.pool.give_back(owner, self._hub.spill(batch.topic, batch.topic.size))
            self.spilled += batch.topic.ring.spilled - before
