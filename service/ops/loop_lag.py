"""How late the event loop is: the one figure that says whether it has more to do than it can."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from service.core.histogram import Histogram

__all__ = ["LoopLag"]

_EVERY: Final = 0.1
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0,
                  2.5, 5.0, 10.0)  # fmt: skip


class LoopLag:
    """Sets a timer ten times a second and sees how late it is, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.delays = Histogram(_BOUNDS)
        self._clock = clock
        self._recent: deque[float] = deque([0.0], maxlen=round(1 / _EVERY))

    def __repr__(self) -> str:
        return f"<LoopLag {self.worst:g} s>"

    @property
    def worst(self) -> float:
        """The greatest delay of the last second."""
        return max(self._recent)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = self._clock() + _EVERY
            await asyncio.sleep(_EVERY)
            delay = max(0.0, self._clock() - due)
            self.delays.observe(delay)
            self._recent.append(delay)
