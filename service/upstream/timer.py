"""Calls at a time, which know their time."""

import asyncio
from collections.abc import Callable
from math import inf

__all__ = ["Timer", "WakeUp"]


class Timer:
    """Like the handle of ``call_at``, with ``at``.

    The loop's own handle cannot be asked: what is due within half a millisecond uvloop calls soon, and gives a
    handle that has no ``when``; others it rounds to milliseconds.
    """

    __slots__ = ("_handle", "at")

    def __init__(self, at: float, callback: Callable[..., None], *arguments: object) -> None:
        self.at = at
        self._handle: asyncio.Handle = asyncio.get_running_loop().call_at(at, callback, *arguments)

    def __repr__(self) -> str:
        return f"<Timer at {self.at:.3f}>"

    def cancel(self) -> None:
        """Call nothing; doing it again, or too late, is harmless."""
        self._handle.cancel()


class WakeUp:
    """Calls at the earliest time of those that it is asked for; each call has to be asked for anew."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer: Timer | None = None
        self._rung = 0.0

    def __repr__(self) -> str:
        return f"<WakeUp {self._timer!r}>"

    def set(self, at: float) -> None:
        """Call then, or earlier where that was asked for; never at infinity."""
        if at == inf:
            return
        if self._timer is not None:
            if self._timer.at <= at:
                return
            self._timer.cancel()
        self._timer = Timer(at, self._ring, at)

    def now(self) -> float:
        """Return the time, no earlier than that of the last call: loops call half a millisecond early."""
        return max(self._loop.time(), self._rung)

    def cancel(self) -> None:
        """Call nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, at: float) -> None:
        self._timer = None
        self._rung = at
        self._callback()
