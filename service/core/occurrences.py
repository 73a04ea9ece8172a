"""Occurrences of the same thing: logged once in a while, with how often it happened since."""

from collections.abc import Callable
from math import inf

__all__ = ["Occurrences"]


class Occurrences:
    """Counts what happens, and says when to log it; ``every`` is in seconds."""

    def __init__(self, clock: Callable[[], float], every: float = 60.0) -> None:
        self._every = every
        self._clock = clock
        self._last = -inf
        self._count = 0

    def __repr__(self) -> str:
        return f"<Occurrences {self._count} not logged>"

    def happened(self) -> int:
        """Count one more; return how many there were since the last line where it is time for the next, else 0."""
        self._count += 1
        now = self._clock()
        if now - self._last < self._every:
            return 0
        count, self._last, self._count = self._count, now, 0
        return count
