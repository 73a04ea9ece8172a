"""A time-out in which the time does not count that this process was stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["running_timeout"]

_LATE: Final = 1.0
"""Seconds by which a timer is late where the process did not run, or its loop was blocked."""


@asynccontextmanager
async def running_timeout(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Do as :func:`asyncio.timeout`, and give back the time for which the loop stood still.

    After a pause of the process (SIGSTOP, a frozen container) timers ring before sockets are read: what has ended
    meanwhile, or was frozen too, would be given up as too slow.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    timer: asyncio.TimerHandle
    async with asyncio.timeout(None) as limit:

        def ring(due: float) -> None:
            nonlocal timer
            now = loop.time()
            if now - due > _LATE:
                again = now + min(now - due, seconds)
                timer = loop.call_at(again, ring, again)
            else:
                limit.reschedule(now)

        timer = loop.call_at(due, ring, due)
        try:
            yield limit
        finally:
            timer.cancel()
