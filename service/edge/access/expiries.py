"""What ends when its token does: connections and streams, from one timer for all of them.

Each stands in a set for the second in which it ends, so that a renewal is two steps in dictionaries. Tokens
made in one moment expire in one too: no more than a slice ends at once, and the loop goes on between two.
"""

import asyncio
import time
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["Expiries", "Holder"]

_EVERY: Final = 1.0
_SLICE: Final = 100
_PAUSE: Final = 0.05
"""Seconds after a slice: 2,000 a second, which come back no faster."""


class Holder(Protocol):
    """What was let in by a token."""

    def expire(self) -> None:
        """End: the token has expired."""
        ...


class Expiries:
    """Every holder of a token that expires; ``clock`` gives seconds of the Unix epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, set[Holder]] = {}
        self._second_of: dict[Holder, int] = {}
        self._next = 0
        """The first second of the loop's time that has not been looked at to its end."""
        self._timer = Periodic("expiries", _EVERY, self._check)

    def __repr__(self) -> str:
        return f"<Expiries {len(self._second_of)}>"

    def when(self, until: float | None) -> float | None:
        """Return the loop's time of a moment in seconds of the Unix epoch; None stays None.

        To be asked in the moment in which a token is checked: a clock that is set after that moves nobody's end.
        """
        return None if until is None else self._loop.time() + until - self._clock()

    def set(self, holder: Holder, until: float | None) -> None:
        """End the holder at ``until``, in seconds of the Unix epoch; with None, never. The last word counts."""
        self.set_at(holder, self.when(until))

    def set_at(self, holder: Holder, end: float | None) -> None:
        """Do as :meth:`set`, at a time of the loop."""
        self.discard(holder)
        if end is None:
            return
        if not self._second_of:
            self._next = int(self._loop.time())
            self._timer.start()
        second = max(self._next, ceil(end))
        self._second_of[holder] = second
        self._due.setdefault(second, set()).add(holder)

    def discard(self, holder: Holder) -> None:
        """Forget the holder; harmless for one that is not here."""
        second = self._second_of.pop(holder, None)
        if second is not None:
            holders = self._due[second]
            holders.discard(holder)
            if not holders:
                del self._due[second]

    def _check(self) -> float | None:
        now, room = int(self._loop.time()), _SLICE
        while self._next <= now and room:
            holder = next(iter(self._due.get(self._next, ())), None)
            if holder is None:
                self._next += 1
                continue
            room -= 1
            self.discard(holder)
            contain("a token's end failed", holder.expire)
        if not self._second_of:
            return None
        return _EVERY if self._next > now else _PAUSE

    def close(self) -> None:
        """End nobody any more."""
        self._timer.stop()
