"""Finished batches in the order in which they give way: by owner, the oldest first."""

from collections.abc import Collection

from service.core.fetching.batch import Batch
from service.core.owner import Owner

__all__ = ["BatchesByOwner"]


class BatchesByOwner:
    """Finds the oldest batches of an owner."""

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
