"""The clock of the service: what ``core/ports.py`` asks of one, of the loop that runs."""

import asyncio
import time

import uvloop

from service.core.ports import Clock

__all__ = ["clock_of"]


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """Return the clock of this loop's timers: uvloop's own has milliseconds, and stands still for a turn."""
    return time.monotonic if isinstance(loop, uvloop.Loop) else loop.time
