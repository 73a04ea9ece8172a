"""Whether the other end is still there: a network that drops a connection may not report that."""

import logging
from collections.abc import Callable
from typing import Final

from .timers import Timers

__all__ = ["Liveness"]

_log = logging.getLogger("sluice.client")

_LOOK: Final = 5.0
"""Seconds between two looks."""
_SILENCE: Final = 5
"""Looks in a row without a frame, 25 to 30 s after the last one, before the service is asked for a sign of life."""
_SIGN: Final = 3
"""Looks for that sign: then the connection is given up, 40 to 45 s after its last frame."""


class Liveness:
    """Watches the silences of a connection; ``ask`` asks for a sign of life, ``lost`` gives the connection up."""

    def __init__(self, timers: Timers, ask: Callable[[], None], lost: Callable[[], None]) -> None:
        self.heard = False
        """Set when a frame has come."""
        self.paused = False
        """Whether nothing is read: a silence of our own making does not count."""
        self._timers = timers
        self._ask = ask
        self._lost = lost
        self._silent = 0
        timers.after(_LOOK, self._check)

    def __repr__(self) -> str:
        return f"<Liveness silent for {self._silent} looks>"

    def _check(self) -> None:
        self._silent = 0 if self.heard or self.paused else self._silent + 1
        self.heard = False
        if self._silent == _SILENCE + _SIGN:
            _log.warning("nothing received for %.0f s: giving up the connection", self._silent * _LOOK)
            self._lost()
            return
        if self._silent == _SILENCE:
            self._ask()
        self._timers.after(_LOOK, self._check)
