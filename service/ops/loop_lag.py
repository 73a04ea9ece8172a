"""How late the event loop is: the one figure that says whether it has more to do than it can."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from service.core.histogram import Histogram
from service.core.occurrences import Occurrences

__all__ = ["LoopLag"]

_log = logging.getLogger("sluice")

_EVERY: Final = 0.1
_STANDSTILL: Final = 5.0
"""Seconds of delay that are logged."""
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0,
                  2.5, 5.0, 10.0)  # fmt: skip

_NOT_RUN: Final = "the process did not run: it was stopped, or its container or machine was suspended or overloaded"
_BUSY: Final = "the process was busy with something else: a step or stage that runs on the loop, or a bug"


class LoopLag:
    """Sets a timer ten times a second and sees how late it is, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.delays = Histogram(_BOUNDS)
        self._clock = clock
        self._standstills = Occurrences(clock)
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
            due, used = self._clock() + _EVERY, time.process_time()
            await asyncio.sleep(_EVERY)
            delay = max(0.0, self._clock() - due)
            if delay >= _STANDSTILL:
                self._report(delay, time.process_time() - used)
            self.delays.observe(delay)
            self._recent.append(delay)

    def _report(self, delay: float, used: float) -> None:
        """Log a standstill; ``used`` is the CPU time of this process in it."""
        if count := self._standstills.happened():
            why = _BUSY if used > delay / 4 else _NOT_RUN
            fields = {"seconds": round(delay, 1), "why": why, "count": count}
            _log.warning("the event loop stood still", extra=fields)
