"""Batches that are held back: by credit or memory, until something changes."""

from collections.abc import Callable
from itertools import islice
from typing import Final

from service.core.fetching.batch import Batch
from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["HeldBatches"]

_LOOK: Final = 0.2
"""Seconds between two looks at batches that wait for something but their own readers."""
_AT_ONCE: Final = 500
"""Batches that are looked at then, 3 us each."""


class HeldBatches:
    """All batches that are held back. Each is woken when its reader has taken something or left.

    What others hold (memory, bodies that are being read) is looked at now and then, the longest held first.
    """

    def __init__(self, woken: Callable[[Batch], None]) -> None:
        self._woken = woken
        self.held: dict[str, Batch] = {}
        """By id, the longest held first."""
        self._timer = Periodic("held batches", _LOOK, self._check)

    def __repr__(self) -> str:
        return f"<HeldBatches {len(self.held)}>"

    def add(self, batch: Batch) -> None:
        """Hold a batch back until there is a reason to ask again."""
        batch.topic.on_taken = lambda: self.wake(batch)
        self.held[batch.id] = batch
        self._timer.start()

    def wake(self, batch: Batch) -> None:
        """Have it asked again whether the batch may go on, if it is held back."""
        batch.topic.on_taken = None
        if self.held.pop(batch.id, None) is not None:
            self._woken(batch)

    def close(self) -> None:
        """Stop looking."""
        self._timer.stop()

    def _check(self) -> float | None:
        for batch in tuple(islice(self.held.values(), _AT_ONCE)):
            contain("a batch that was held back could not go on", self.wake, batch)
        return _LOOK if self.held else None
