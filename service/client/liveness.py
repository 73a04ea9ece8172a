"""Whether the other end is still there: a network that forgets a connection says nothing of it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from .timers import Timers

__all__ = ["Liveness"]

_log = logging.getLogger("sluice.client")

_SILENCE: Final = 30.0
"""Seconds without a frame after which the service is asked for a sign of life."""
_SIGN: Final = 15.0
"""Seconds for that sign: then the connection is given up."""


class Liveness:
    """Watches the silences of a connection; ``ask`` asks for a sign of life, ``lost`` gives the connection up."""

    def __init__(self, timers: Timers, ask: Callable[[], None], lost: Callable[[], None]) -> None:
        self._clock = asyncio.get_running_loop().time
        self._timers = timers
        self._ask = ask
        self._lost = lost
        self._heard = self._clock()
        self._asked = False
        self._paused = False
        timers.after(_SILENCE, self._look)

    def __repr__(self) -> str:
        return f"<Liveness heard at {self._heard:.1f}>"

    def heard(self) -> None:
        """Note that something has come."""
        self._heard = self._clock()

    def pause(self) -> None:
        """Note that nothing is read: a silence of our own making does not count."""
        self._paused = True

    def go_on(self) -> None:
        """Note that it is read again."""
        self._paused = False
        self.heard()

    def _look(self) -> None:
        silence = 0.0 if self._paused else self._clock() - self._heard
        if silence < _SILENCE:
            self._asked = False
            # Clocks are rounded: a delay that rounds to nothing would be due at once, again and again.
            self._timers.after(max(_SILENCE - silence, 0.01), self._look)
        elif not self._asked:
            self._asked = True
            self._ask()
            self._timers.after(_SIGN, self._look)
        else:
            _log.warning("nothing has come for %.0f s: the connection is given up", silence)
            self._lost()
