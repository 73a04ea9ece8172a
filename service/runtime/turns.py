"""Places that few can have at a time: owners that wait for one take turns, however much each of them wants."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """A semaphore that is given to one owner after another; of one owner, first come, first served."""

    def __init__(self, places: int = 1) -> None:
        self.places = places
        self.taken = 0
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Turns {self.taken} of {self.places} taken, {len(self._waiting)} owners wait>"

    @property
    def waiting(self) -> int:
        """How many wait, of all owners."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for this owner's turn, and have a place."""
        await self._wait(owner)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, owner: Hashable) -> None:
        if self.taken < self.places:
            self.taken += 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                # It was given the place in the moment in which it was cancelled.
                self._next()
            raise

    def _next(self) -> None:
        """Give a place that has become free to the next that waits."""
        while self._waiting:
            owner, futures = self._waiting.popitem(last=False)
            first = futures.popleft()
            if futures:
                self._waiting[owner] = futures
            if not first.done():
                first.set_result(None)
                return
        self.taken -= 1
