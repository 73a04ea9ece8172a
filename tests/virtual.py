"""An event loop whose clock jumps to the next timer as soon as nothing else can run.

Hours of timers run in milliseconds, over real loopback sockets of this process. Threads and other
processes are not seen: time jumps past them.
"""

import asyncio
import selectors
from time import monotonic

_LATE = 0.004
"""Seconds of a wait that say that the machine does other things: what was sent may be late as well."""
_AGAIN = 5


class _Jumping(selectors.DefaultSelector):
    """Looks for ready sockets without waiting; when there are none, lets the time pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.patience = 0.0005
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)
        # Loopback needs a moment of real time: what was just sent is about to arrive.
        for _ in range(_AGAIN):
            began = monotonic()
            if ready := super().select(self.patience):
                return ready
            if monotonic() - began < _LATE:
                break
        self.now += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop on virtual time, in seconds since it was made.

    Where no socket is used, ``patience`` (seconds that loopback is given) may be 0.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._jumping = _Jumping()
        if patience is not None:
            self._jumping.patience = patience
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jumping.now

    @property
    def turns(self) -> int:
        """How often it has turned: what is done in one turn, nothing else comes between."""
        return self._jumping.turns
