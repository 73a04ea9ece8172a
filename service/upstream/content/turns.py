"""Something that one can have at a time: owners that wait for it take turns, however much each of them wants."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.core.owner import Owner

__all__ = ["Turns"]


class Turns:
    """A lock that is given to one owner after another; of one owner, first come, first served."""

    def __init__(self) -> None:
        self.taken = False
        self._waiting: OrderedDict[Owner, deque[asyncio.Future[None]]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Turns {'taken' if self.taken else 'free'}, {len(self._waiting)} owners wait>"

    @asynccontextmanager
    async def turn(self, owner: Owner) -> AsyncIterator[None]:
        """Wait for this owner's turn, and have it."""
        await self._wait(owner)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, owner: Owner) -> None:
        if not self.taken:
            self.taken = True
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                # It was given the turn in the moment in which it was cancelled.
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            owner, futures = self._waiting.popitem(last=False)
            first = futures.popleft()
            if futures:
                self._waiting[owner] = futures
            if not first.done():
                first.set_result(None)
                return
        self.taken = False
