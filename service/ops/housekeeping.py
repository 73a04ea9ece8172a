"""What has to be done again and again: overload is measured, and what nobody needs any more is swept away."""

import asyncio
from typing import Final

from service.core.topics.hub import Hub
from service.edge.access.admission import AdmissionControl
from service.ops.loop_lag import LoopLag
from service.ops.overload_controller import OverloadController
from service.ops.process import resident
from service.runtime.allocator import in_use, trim
from service.runtime.containment import contain

__all__ = ["Housekeeping"]

_EVERY: Final = 1.0
_TRIM_EVERY: Final = 15.0
_GROWN: Final = 16 << 20
"""Bytes that are worth a look: of growth, or of what was freed."""
_CHANGED: Final = 1 << 20
"""Bytes of resident memory; a larger change between two looks means that the service is busy."""
_LONGEST: Final = 8
"""The longest pause between two looks at memory that does not change, in usual pauses."""
_TOPICS: Final = 1000
"""Topics that one sweep looks at, and a fifth of all: a round takes six seconds at most."""
_SLICE: Final = 100
"""Topics in one turn of the loop, 10 us for each that is forgotten: 100,000 of one client may age together."""
_PAUSE: Final = 0.002
"""Seconds between two slices: an answer takes several turns of the loop, and should not meet a slice in each of
them."""


class _Looks:
    """When to look at allocated memory again: soon if it changes, later and later if it does not.

    With 10,000 idle clients, one look takes as much CPU time as half a second of their pings.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._pause = self._left = 1

    def due(self, now: int) -> bool:
        """Return whether to look now, at this size of resident memory; called once in each usual pause."""
        if abs(now - self._seen) > _CHANGED:
            self._seen, self._pause, self._left = now, 1, 1
        self._left -= 1
        if self._left:
            return False
        self._left, self._pause = self._pause, min(2 * self._pause, _LONGEST)
        return True


class Housekeeping:
    """Endless tasks; an error in one of them does not stop the others."""

    def __init__(self, hub: Hub, admission: AdmissionControl, controller: OverloadController, lag: LoopLag) -> None:
        self._hub = hub
        self._admission = admission
        self._controller = controller
        self._lag = lag

    async def watch_overload(self) -> None:
        """Measure once a second, and do what the level of overload asks for."""
        while True:
            await asyncio.sleep(_EVERY)
            self._controller.sample(self._lag.worst, self._hub.clock())

    async def return_memory(self) -> None:
        """Give back what was freed, whenever the process has grown, or has freed much, since the last time."""
        least = before = resident()
        unused, looks = before, _Looks()
        while True:
            await asyncio.sleep(_TRIM_EVERY)
            now = resident()
            least = min(least, now)
            if now <= least + _GROWN or not looks.due(now):
                continue
            used = await asyncio.to_thread(in_use)
            unused = min(unused, now - used)
            if now > before + _GROWN or now - used > unused + _GROWN:
                await asyncio.to_thread(trim)
                before = resident()
                unused = before - used

    async def sweep(self) -> None:
        """Forget what has aged: messages, topics, keys, and addresses that no longer count."""
        while True:
            await asyncio.sleep(_EVERY)
            contain("idle addresses could not be forgotten", self._admission.addresses.sweep, self._hub.clock())
            contain("topics could not be swept", self._hub.sweep, self._hub.clock(), _SLICE)
            count = len(self._hub.topics)
            for _ in range(_SLICE, min(count, _TOPICS + count // 5), _SLICE):
                await asyncio.sleep(_PAUSE)
                contain("topics could not be swept", self._hub.age, self._hub.clock(), _SLICE)
