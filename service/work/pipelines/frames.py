"""The memory that items of pipelines have while they are under way: shared out among owners, who wait for room.

Nobody knows how large a picture is before it is decoded. An item that has become much larger than what was
taken for it waits for room, with the stage that it is in. The first item of a run need not: it is the next to
come out and to give all back. That holds for one run of an owner at a time: many connections do not get around
the bound.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool

__all__ = ["FrameMemory", "MemoryReservation"]

_SLACK: Final = 64 << 10
"""Bytes that an item may grow by without asking; or an eighth of its size."""


class FrameMemory:
    """A bound on the bytes of all items that are under way."""

    def __init__(self, bound: int) -> None:
        self.pool = Pool("frame_bytes", bound, eager=FOUR_FIFTHS)
        self._waiting: set[asyncio.Future[None]] = set()
        self._excepted: dict[Owner, MemoryReservation] = {}
        """Of each owner the run whose first item may have more than there is."""

    def __repr__(self) -> str:
        return f"<FrameMemory {self.pool!r}, {len(self._waiting)} waiting>"

    async def reserve(self, owner: Owner, size: int) -> None:
        """Wait until the owner has room for this many bytes; an owner that holds nothing may take any item."""
        if not self.pool.fits(owner, size):
            self.pool.refused += 1
        while not self.pool.fits(owner, size):
            await self._change()
        self.pool.charge(owner, size)

    async def wait_to_grow(
        self, owner: Owner, size: int, held: "MemoryReservation", first: Callable[[], bool]
    ) -> None:
        """Wait until an item may have so much more: there is room, or it is the first of its run and excepted."""
        self.pool.refused += 1
        while not (self.pool.fits(owner, size) or (first() and self._excepted.setdefault(owner, held) is held)):
            await self._change()

    async def _change(self) -> None:
        """Wait until something was given back."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await change
        finally:
            self._waiting.discard(change)

    def grow(self, owner: Owner, size: int) -> None:
        """Take more for an item that has become larger: it is there already."""
        self.pool.charge(owner, size)

    def came_out(self, owner: Owner, held: "MemoryReservation") -> None:
        """Note that the first item of a run has come out, or that the run has ended."""
        if self._excepted.get(owner) is held:
            del self._excepted[owner]

    def release(self, owner: Owner, size: int) -> None:
        """Give back what was taken, and let others look again."""
        self.pool.release(owner, size)
        waiting, self._waiting = self._waiting, set()
        for room in waiting:
            if not room.done():
                room.set_result(None)


class MemoryReservation:
    """What the items of one run hold. A run takes as much for an item as the last one came to need."""

    def __init__(self, memory: FrameMemory, owner: Owner) -> None:
        self._memory = memory
        self._owner = owner
        self._held = 0
        self._usual = 0

    def __repr__(self) -> str:
        return f"<MemoryReservation of {self._held} bytes>"

    async def reserve(self, size: int) -> int:
        """Wait for room for an item of this size; return what was taken for it."""
        taken = max(size, self._usual)
        await self._memory.reserve(self._owner, taken)
        self._held += taken
        return taken

    def grow(self, taken: int, size: int) -> int:
        """Take more for an item that is larger than what was taken for it; return what it has now."""
        if size > taken:
            self._usual = size
            self._held += size - taken
            self._memory.grow(self._owner, size - taken)
        return max(size, taken)

    def fits(self, taken: int, size: int) -> bool:
        """Return whether an item may be so large now: hardly larger than what was taken, or there is room."""
        pool, more = self._memory.pool, size - taken
        return more <= max(taken >> 3, _SLACK) or pool.held(self._owner) == taken or pool.fits(self._owner, more)

    async def wait_to_grow(self, taken: int, size: int, first: Callable[[], bool]) -> int:
        """Wait until an item may be so large, and take it; ``first`` says whether it is the next to come out."""
        await self._memory.wait_to_grow(self._owner, size - taken, self, first)
        return self.grow(taken, size)

    def came_out(self, taken: int) -> None:
        """Give back what the first item had."""
        self._memory.came_out(self._owner, self)
        self.release(taken)

    def release(self, taken: int) -> None:
        """Give back what an item had."""
        self._held -= taken
        self._memory.release(self._owner, taken)

    def close(self) -> None:
        """Give back what all items have that did not come out."""
        self.came_out(self._held)
