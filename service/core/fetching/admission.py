"""How many batches, and bytes of requests that wait, clients may have: a share of each for every owner."""

from service.core.errors import Overloaded
from service.core.fetching.batch import BatchLimits, BatchState
from service.core.owner import Owner
from service.core.pool import Pool

__all__ = ["Admission"]


class Admission:
    """Two pools; what a batch takes of them it gives back when it is done."""

    def __init__(self, limits: BatchLimits) -> None:
        self.batches = Pool("batches", limits.batches, advice="wait for one to end")
        self.queued = Pool(
            "queued_bytes", limits.queued_bytes, error=Overloaded, advice="wait for its batches to be fetched"
        )

    def __repr__(self) -> str:
        return f"<Admission {self.batches!r}, {self.queued!r}>"

    def check(self, owner: Owner) -> None:
        """Raise LimitReached or Overloaded for an owner that has used up its share."""
        self.batches.check(owner)
        self.queued.check(owner)

    def enter(self, batch: BatchState) -> None:
        """Count a batch in."""
        self.batches.take(batch.owner, 1)
        self.queued.take(batch.owner, batch.weight)

    def leave(self, batch: BatchState) -> None:
        """Count a batch out."""
        self.batches.give_back(batch.owner, 1)
        self.queued.give_back(batch.owner, batch.weight)
