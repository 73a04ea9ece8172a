"""Whether memory may be taken: asked where it is, before it is, and measured at most every few milliseconds."""

from collections.abc import Callable
from typing import Final

__all__ = ["COPIES", "UNLIMITED", "MemoryBudget", "OutOfMemory"]

COPIES: Final = 3
"""How many copies of a body are in memory at once, at most: its bytes, its event, and the event on its way to a
reader."""
_MOST: Final = 0.9
"""The share of the limit that may be taken: what overload refuses new clients at."""
_FRESH: Final = 0.05
"""Seconds that a measurement counts, less what was taken since; it costs 30 us."""


class OutOfMemory(OSError):
    """The service is short of memory; another try may do."""


class MemoryBudget:
    """The memory that is left of a limit in bytes; 0 means no limit."""

    def __init__(self, limit: int, used: Callable[[], int], clock: Callable[[], float]) -> None:
        self._limit = limit
        self._used = used
        self._clock = clock
        self._left = 0
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<MemoryBudget {self._left} of {self._limit}>"

    def reserve(self, size: int) -> bool:
        """Count so many bytes in, if there is room for them; return whether there is."""
        if self._limit:
            if self._clock() >= self._until:
                self._measure()
            if size > self._left:
                return False
            self._left -= size
        return True

    def has(self, size: int) -> bool:
        """Return whether there is room for this many bytes."""
        if not self._limit:
            return True
        if self._clock() >= self._until:
            self._measure()
        return size <= self._left

    def _measure(self) -> None:
        self._left = int(_MOST * self._limit) - self._used()
        self._until = self._clock() + _FRESH


UNLIMITED: Final = MemoryBudget(0, int, float)
"""Room without a limit."""
