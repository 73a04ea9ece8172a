"""How many batches, and bytes of requests that wait, clients may have: a share of each for every owner."""

from service.core.errors import LimitReached, Overloaded
from service.core.fetching.batch import BatchLimits, BatchState
from service.core.pool import Pool

__all__ = ["Admission"]


class Admission:
    """Two pools; what a batch takes of them it gives back when it is done."""

    def __init__(self, limits: BatchLimits) -> None:
        self.batches = Pool(limits.batches)
        self.queued = Pool(limits.queued_bytes)

    def __repr__(self) -> str:
        return f"<Admission {self.batches!r}, {self.queued!r}>"

    def check(self, owner: str) -> None:
        """Raise LimitReached or Overloaded for an owner that has used up its share."""
        if self.batches.room(owner) < 1:
            held = self.batches.held(owner)
            raise LimitReached(
                f"limit batches: {held} of this client are running, its share of {self.batches.bound}; "
                "wait for one to end"
            )
        if self.queued.room(owner) < 1:
            held = self.queued.held(owner)
            raise Overloaded(
                f"limit queued_bytes: requests of {held} bytes of this client wait to be fetched, "
                f"its share of {self.queued.bound}"
            )

    def enter(self, batch: BatchState) -> None:
        """Count a batch in."""
        self.batches.take(batch.owner, 1)
        self.queued.take(batch.owner, batch.weight)

    def leave(self, batch: BatchState) -> None:
        """Count a batch out."""
        self.batches.give_back(batch.owner, 1)
        self.queued.give_back(batch.owner, batch.weight)
