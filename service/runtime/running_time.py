"""A time-out that does not count the time for which this process was stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["running_timeout"]

_LATE: Final = 1.0
"""Seconds by which a timer is late where the process did not run, or its loop was blocked."""

_LOOK: Final = 5.0
"""Seconds between two looks, and what a pause may cost at most."""


@asynccontextmanager
async def running_timeout(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Do as :func:`asyncio.timeout`, and give back the time for which the loop stood still, at most as much again.

    After a pause of the process (SIGSTOP, a frozen container) timers fire before sockets are read: work that ended
    during the pause, or that was paused too, would be given up as too slow. Where pauses come again and again, on
    a loop that is always late, it ends all the same.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None
    spare = seconds
    async with asyncio.timeout(None) as limit:

        def ring(due: float, left: float) -> None:
            nonlocal timer, spare
            now = loop.time()
            if now - due > _LATE:
                back = min(now - due, spare)
                spare -= back
                left += back
            if left <= 0:
                limit.reschedule(now)
                return
            part = min(left, _LOOK)
            timer = loop.call_at(now + part, ring, now + part, left - part)

        ring(loop.time(), seconds)
        try:
            yield limit
        finally:
            if timer is not None:
                timer.cancel()
