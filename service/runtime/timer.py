"""Timers: calls at a given time, periodic calls, and calls after a time without news."""

import asyncio
from collections.abc import Callable
from math import inf

from service.runtime.background import BACKGROUND
from service.runtime.containment import report

__all__ = ["IdleTimer", "Periodic", "Timer", "WakeUp"]


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


class IdleTimer:
    """Calls when it was not restarted for some seconds; each call has to be asked for anew."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<IdleTimer {'at rest' if self._handle is None else 'running'}>"

    def restart(self, seconds: float) -> None:
        """Call after this many seconds, and not before."""
        self.cancel()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._ring)

    def cancel(self) -> None:
        """Call nothing until the next :meth:`restart`."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self) -> None:
        self._handle = None
        self._callback()


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
        self._rung = max(self._rung, at)
        self._callback()


class Periodic:
    """Calls again and again while there is something to do: one timer for any number of items.

    ``run`` returns the seconds until its next call, or None when nothing is left; then :meth:`start` begins anew.
    Where it raises, the error is reported under ``name``, one of ``BACKGROUND``, and the next call comes ``every``
    seconds later all the same.
    """

    def __init__(self, name: str, every: float, run: Callable[[], float | None]) -> None:
        if name not in BACKGROUND:
            raise ValueError(f"{name!r} is not in the table of background work")
        self._name = name
        self._every = every
        self._run = run
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Periodic {self._name}, {'running' if self.running else 'at rest'}>"

    @property
    def running(self) -> bool:
        """Whether a call is due."""
        return self._timer is not None

    def start(self, *, after: float | None = None) -> None:
        """Call ``run`` in ``after`` seconds, or in ``every``; nothing changes where a call is due already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every if after is None else after, self._call)

    def stop(self) -> None:
        """Call nothing until :meth:`start`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _call(self) -> None:
        timer = self._timer
        try:
            pause = self._run()
        except Exception as error:
            report("a turn of background work failed", error, task=self._name)
            pause = self._every
        if self._timer is timer:  # else it was stopped from inside
            self._timer = None if pause is None else asyncio.get_running_loop().call_later(pause, self._call)
