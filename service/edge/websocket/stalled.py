"""Connections whose transport was full when there was something to write."""

import asyncio
from typing import Final, Protocol

from service.core.overload import heaviest
from service.core.owner import Owner
from service.core.pool import PoolStatistics
from service.core.sessions.closing import OVERLOADED, TOO_SLOW, CloseReason
from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["Stalled"]

_EVERY: Final = 0.02
"""Seconds between two looks. A look at one connection costs 0.2 us, a thousand stuck ones 1 % of a core."""


class _Connection(Protocol):
    """What is asked of a connection that had no room."""

    owner: Owner
    transport: asyncio.Transport

    @property
    def reading(self) -> bool:
        """Whether it has a reader."""
        ...

    def full(self) -> bool:
        """Whether its transport has no room still."""
        ...

    def revisit(self) -> None:
        """Bring its readers what they have not had."""
        ...

    def cut(self) -> None:
        """End it now."""
        ...

    def cut_slow(self, reason: str, topic: str | None = None, closing: CloseReason = TOO_SLOW) -> None:
        """End it because it fell behind."""
        ...


class Stalled:
    """Looks again and again at the connections that had no room, as long as there are any.

    asyncio tells only a transport's own protocol that it has drained, and that is aiohttp's. What all of
    them hold together is bounded by ``most`` bytes: beyond it, the client that holds most loses the connection
    that has been stuck longest.
    """

    def __init__(self, most: int = 256 << 20) -> None:
        self._held: dict[Owner, int] = {}
        self.cut = 0
        """How many were cut because that was too much."""
        self._most = most
        # In the order in which they got stuck.
        self._waiting: dict[_Connection, None] = {}
        self._timer = Periodic("stalled connections", _EVERY, self._check)

    def __repr__(self) -> str:
        return f"<Stalled {len(self._waiting)}>"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def held(self) -> int:
        """Bytes that all of them held at the last look."""
        return sum(self._held.values())

    def statistics(self) -> PoolStatistics:
        """Return what each client's connections held at the last look, as of any pool."""
        largest = max(self._held.values(), default=0)
        return PoolStatistics(self._most, self.held, len(self._held), largest, self.cut)

    def add(self, connection: _Connection) -> bool:
        """Wait for room; return whether the connection was not waiting already."""
        if connection in self._waiting:
            return False
        self._waiting[connection] = None
        self._timer.start()
        return True

    def _check(self) -> float | None:
        held: dict[Owner, int] = {}
        for connection in tuple(self._waiting):
            if not connection.reading or not connection.full():
                self._waiting.pop(connection, None)
                if not contain("internal error in a stalled connection", connection.revisit):
                    contain("internal error in a stalled connection", connection.cut)
            else:
                size = connection.transport.get_write_buffer_size()
                held[connection.owner] = held.get(connection.owner, 0) + size
        self._held = held
        if self.held > self._most:
            self._make_room(held)
        return _EVERY if self._waiting else None

    def _make_room(self, held: dict[Owner, int]) -> None:
        """Cut connections of the client that holds most, the longest stuck first, until all fit."""
        stuck: dict[Owner, list[_Connection]] = {}
        for connection in reversed(self._waiting):
            stuck.setdefault(connection.owner, []).append(connection)
        while self.held > self._most:
            owner = max(held, key=held.__getitem__)
            connection = stuck[owner].pop()
            del self._waiting[connection]
            held[owner] -= connection.transport.get_write_buffer_size()
            if not stuck[owner]:
                del held[owner]
            self.cut += 1
            contain("internal error in a stalled connection", connection.cut_slow, "backlogs")

    def shed(self) -> int:
        """Cut the tenth that holds most; return how many."""
        heavy = heaviest(self._waiting, lambda connection: connection.transport.get_write_buffer_size())
        for connection in heavy:
            del self._waiting[connection]
            contain("internal error in a stalled connection", connection.cut_slow, "overload", None, OVERLOADED)
        return len(heavy)

    def close(self) -> None:
        """Stop looking."""
        self._waiting.clear()
        self._timer.stop()
