"""How many lines an event may have: of a flood only the number is written."""

from collections import Counter
from collections.abc import Callable
from typing import Final

__all__ = ["Throttle"]

_KINDS: Final = 1000
_OTHER: Final = "other kinds"


class Throttle:
    """Admits ``most`` lines of a kind in each second of the clock, and counts the others."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._second = 0
        self._admitted: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._over: Counter[str] = Counter()
        """How many were left out in this second, and in earlier ones that were not reported yet."""

    def admit(self, kind: str) -> bool:
        """Return whether this line is written."""
        self._turn()
        if kind not in self._admitted and len(self._admitted) >= _KINDS:
            # Texts that are not constant, of a library or by mistake.
            kind = _OTHER
        self._admitted[kind] += 1
        if self._admitted[kind] <= self._most:
            return True
        self._left[kind] += 1
        return False

    def left_out(self, *, end: bool = False) -> Counter[str]:
        """Return how many of each kind were not written in seconds that are over (or by the ``end``), once."""
        self._turn()
        if end:
            self._over += self._left
        suppressed, self._over = self._over, Counter()
        return suppressed

    def _turn(self) -> None:
        """Begin a new second, if it is one."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._admitted.clear()
            self._over += self._left
            self._left.clear()
