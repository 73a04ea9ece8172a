"""A bounded queue between two stages: full, it holds back who puts; closed, it ends who gets."""

import asyncio
from collections import deque
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Channel", "Closed", "InOrder", "Ticketed"]

T = TypeVar("T")


class Closed(Exception):
    """A channel is closed, and all that was in it has been taken."""


class Ticketed(NamedTuple, Generic[T]):
    """What was taken from a channel, and the how manyth it was, from 0."""

    ticket: int
    item: T


class Channel(Generic[T]):
    """At most ``capacity`` items, first in, first out."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._closed = False
        self._taken = 0
        self._changed = asyncio.Condition()

    def __repr__(self) -> str:
        return f"<Channel {len(self._items)} of {self._capacity}{', closed' if self._closed else ''}>"

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return len(self._items) >= self._capacity

    async def put(self, item: T) -> None:
        """Wait for room, and put an item in."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full)
            self._items.append(item)
            self._changed.notify_all()

    async def get(self) -> Ticketed[T]:
        """Wait for an item, and take the first; raise Closed where none will come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                raise Closed
            ticketed = Ticketed(self._taken, self._items.popleft())
            self._taken += 1
            self._changed.notify_all()
            return ticketed

    def pop_oldest(self) -> T | None:
        """Take the first item out, without its ticket, or None; the caller puts another in at once."""
        return self._items.popleft() if self._items else None

    @property
    def oldest(self) -> T | None:
        """The first item, which stays."""
        return self._items[0] if self._items else None

    async def close(self) -> None:
        """Have those that get take what is left, and then end."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


class InOrder:
    """Lets the holders of tickets 0, 1, 2, … do something one after the other, whenever each of them comes."""

    def __init__(self) -> None:
        self._next = 0
        self._changed = asyncio.Condition()

    async def wait(self, ticket: int) -> None:
        """Return when all tickets before this one are done."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._next == ticket)

    async def done(self) -> None:
        """Have the next one go on."""
        async with self._changed:
            self._next += 1
            self._changed.notify_all()
