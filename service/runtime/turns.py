"""Places that few can have at a time: owners that wait for one take turns, however much each of them wants."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from service.core.owner_lines import OwnerLines
from service.core.pool import PoolStatistics

__all__ = ["Turns"]


class Turns:
    """A semaphore that is given to one owner after another; of one owner, first come, first served.

    In addition to its places it has ``spare`` ones, for owners that have none while others have all: an owner that
    keeps every place for long does not lock out those that come next.
    """

    def __init__(self, places: int = 1, spare: int = 0) -> None:
        self.places = places
        self.spare = spare
        self.taken = 0
        self._had_to_wait = 0
        """How often an owner had to wait for a place since the start."""
        self._held: Counter[Hashable] = Counter()
        """How many each owner has."""
        self._waiting: OwnerLines[Hashable, asyncio.Future[None]] = OwnerLines()

    def __repr__(self) -> str:
        return f"<Turns {self.taken} of {self.places} taken, {self._waiting.owners} owners wait>"

    @property
    def waiting(self) -> int:
        """How many wait, of all owners."""
        return len(self._waiting)

    def statistics(self) -> PoolStatistics:
        """Return a snapshot."""
        largest = max(self._held.values(), default=0)
        return PoolStatistics(self.places + self.spare, self.taken, len(self._held), largest, self._had_to_wait)

    def has_place(self, owner: Hashable) -> bool:
        """Return whether an owner that asks now need not wait."""
        return self.taken < self.places or (self.taken < self.places + self.spare and not self._held[owner])

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for this owner's turn, and have a place."""
        await self._wait(owner)
        try:
            yield
        finally:
            self._release(owner)

    async def _wait(self, owner: Hashable) -> None:
        if self.has_place(owner):
            self._occupy(owner)
            return
        self._had_to_wait += 1
        mine = asyncio.get_running_loop().create_future()
        self._waiting.put(owner, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                # It was given the place at the moment when it was cancelled.
                self._release(owner)
            raise

    def _occupy(self, owner: Hashable) -> None:
        self.taken += 1
        self._held[owner] += 1

    def _release(self, owner: Hashable) -> None:
        """Free a place, and give it to the next owner that waits and may have it."""
        self.taken -= 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        while (taken := self._waiting.take(self.has_place)) is not None:
            following, first = taken
            if not first.done():
                self._occupy(following)
                first.set_result(None)
                return
