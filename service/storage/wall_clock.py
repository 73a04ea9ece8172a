"""The hub's clock and the wall clock: ages run on while the service is down, so what is stored has wall times."""

import time
from collections.abc import Callable

__all__ = ["WallClock"]


class WallClock:
    """Times since 1970 for those of the hub's clock, which begins anywhere.

    The difference is taken once: a wall clock that is set while the service runs changes no age.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._difference = wall() - clock()

    def to_wall(self, at: float) -> float:
        """Return the time since 1970."""
        return at + self._difference

    def to_hub(self, at: float) -> float:
        """Return the hub's time of something that was stored: never later than now, if the wall clock went back."""
        return min(at - self._difference, self._clock())
