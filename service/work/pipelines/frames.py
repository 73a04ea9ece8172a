"""The memory that items of pipelines have while they are under way: shared out among owners, who wait for room."""

import asyncio

from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool

__all__ = ["FrameMemory", "Lease"]


class FrameMemory:
    """A bound on the bytes of all items that are under way."""

    def __init__(self, bound: int) -> None:
        self.pool = Pool("frame_bytes", bound, eager=FOUR_FIFTHS)
        self._waiting: set[asyncio.Future[None]] = set()

    def __repr__(self) -> str:
        return f"<FrameMemory {self.pool!r}, {len(self._waiting)} waiting>"

    async def take(self, owner: Owner, size: int) -> None:
        """Wait until the owner has room for so much, and take it; one that holds nothing may take any one item."""
        if not self.pool.fits(owner, size):
            self.pool.refused += 1
        while not self.pool.fits(owner, size):
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(room)
            try:
                await room
            finally:
                self._waiting.discard(room)
        self.pool.take(owner, size)

    def grow(self, owner: Owner, size: int) -> None:
        """Take more for an item that has become larger: it is there already."""
        self.pool.take(owner, size)

    def give_back(self, owner: Owner, size: int) -> None:
        """Give back what was taken, and let others look again."""
        self.pool.give_back(owner, size)
        waiting, self._waiting = self._waiting, set()
        for room in waiting:
            if not room.done():
                room.set_result(None)


class Lease:
    """What the items of one run hold. A run takes as much for an item as the last one came to need."""

    def __init__(self, memory: FrameMemory, owner: Owner) -> None:
        self._memory = memory
        self._owner = owner
        self._held = 0
        self._usual = 0

    def __repr__(self) -> str:
        return f"<Lease of {self._held} bytes>"

    async def take(self, size: int) -> int:
        """Wait for room for an item of this size; return what was taken for it."""
        taken = max(size, self._usual)
        await self._memory.take(self._owner, taken)
        self._held += taken
        return taken

    def grow(self, taken: int, size: int) -> int:
        """Take more for an item that is larger than what was taken for it; return what it has now."""
        if size > taken:
            self._usual = size
            self._held += size - taken
            self._memory.grow(self._owner, size - taken)
        return max(size, taken)

    def give_back(self, taken: int) -> None:
        """Give back what an item had."""
        self._held -= taken
        self._memory.give_back(self._owner, taken)

    def close(self) -> None:
        """Give back what all items have that did not come out."""
        self.give_back(self._held)
