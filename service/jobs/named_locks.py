"""Locks by name: one user at a time for each of many things; a lock does not outlive its users."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

__all__ = ["NamedLocks"]


class NamedLocks:
    """Locks by name, each there as long as somebody has it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __repr__(self) -> str:
        return f"<NamedLocks of {len(self._locks)}>"

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def of(self, name: Hashable) -> AsyncIterator[None]:
        """Wait until nobody else holds this lock, and hold it until the block ends."""
        lock, users = self._locks.get(name, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)
