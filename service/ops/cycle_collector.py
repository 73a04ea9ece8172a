"""Frees objects that refer to each other in a circle, and that nothing else refers to.

The service's own objects are freed with the last reference to them, which tests check. A library may still leave a
circle, and so may an exception that keeps the frames it came through. Python looks for circles among all objects
when a quarter of them is new: after 10,000 clients have connected, that holds up the loop for 100 ms, so
``serving.py`` has it never do so. Without the collection here, a circle would stay until the process ends, with the
messages and bodies that it holds.
"""

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["CycleCollector"]

_EVERY: Final = 15.0
_QUICK: Final = 200_000
"""Blocks of memory made since the start, up to which a look takes 15 ms at most."""
_OVERLOADED: Final = 60.0
_LATE: Final = 1800.0
"""Seconds between two looks where there are more blocks: in an overload, and otherwise."""


class CycleCollector:
    """Runs Python's collector on all objects made since the start, if some have grown old since its last run."""

    def __init__(self, now: float, is_overloaded: Callable[[], bool]) -> None:
        """Begin with what is there now; ``is_overloaded`` says whether too much is in use."""
        self._is_overloaded = is_overloaded
        self._first = sys.getallocatedblocks()
        self._last = now
        self._seen = _aged()

    async def run(self) -> None:
        """Look now and then, on the loop: finalizers belong there."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_EVERY)
            self.collect(loop.time())

    def collect(self, now: float) -> None:
        """Look if it is time."""
        if _aged() != self._seen and now - self._last >= self._pause():
            gc.collect()
            self._last, self._seen = now, _aged()

    def _pause(self) -> float:
        if sys.getallocatedblocks() - self._first <= _QUICK:
            return 0.0
        return _OVERLOADED if self._is_overloaded() else _LATE


def _aged() -> int:
    """Return how often new objects were collected: those that outlive that are old, and not looked at again."""
    return int(gc.get_stats()[0]["collections"])
