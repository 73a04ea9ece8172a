"""The batches of one owner that use its share of memory, and what their readers take while some wait for it."""

from typing import Final

from service.core.fetching.batch import Batch
from service.core.topics.topic import OnLag, Reader

__all__ = ["PATIENCE", "ChargedBatches"]

PATIENCE: Final = 30.0
"""Seconds that a batch over its share waits for a reader that takes nothing, or to come back."""
_LOOK: Final = 1.0
"""Seconds between two looks at the readers that batches wait for."""
_SWEEP: Final = 0.1
"""Seconds until batches are looked at again for events that can be given up, once all of those are."""


class ChargedBatches:
    """The batches of an owner that run, or are read still.

    There may be thousands, and each may wait for what another holds. So all are looked at together, no matter how
    many wait.
    """

    __slots__ = ("_looked", "_seen", "_swept", "_waiting", "batches")

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        """By id."""
        self._waiting = 0
        self._swept = self._looked = float("-inf")
        self._seen: dict[Reader, tuple[object, float]] = {}
        """What the readers that are behind had taken at the last look, and since when they have taken nothing."""

    def __repr__(self) -> str:
        return f"<ChargedBatches {len(self.batches)}, {self._waiting} wait>"

    def begin_wait(self) -> None:
        """Record that one more of the batches waits for memory."""
        self._waiting += 1

    def end_wait(self) -> None:
        """Record that one of them has stopped waiting; the patience with readers begins anew when none does."""
        self._waiting -= 1
        if not self._waiting:
            self._seen.clear()

    def may_sweep(self, now: float) -> bool:
        """Return whether it is worth looking for events that all readers have taken."""
        return now - self._swept >= _SWEEP

    def swept(self, now: float) -> None:
        """Record that all events that all readers have taken are given up."""
        self._swept = now

    def check_readers(self, now: float) -> None:
        """Have readers that have taken nothing for too long meet their policy; it looks once a second."""
        if now - self._looked < _LOOK:
            return
        self._looked = now
        before, self._seen = self._seen, {}
        for batch in tuple(self.batches.values()):
            for reader in tuple(batch.topic.readers):
                if reader.behind:
                    self._check_reader(reader, before.get(reader), now)

    def _check_reader(self, reader: Reader, before: tuple[object, float] | None, now: float) -> None:
        progress = reader.progress
        since = before[1] if before is not None and before[0] == progress else now
        self._seen[reader] = (progress, since)
        if now - since < PATIENCE:
            return
        reader.stalled_at = progress
        if reader.on_lag is OnLag.DISCONNECT:
            reader.end_lagging()
