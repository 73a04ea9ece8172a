"""Connections that rest until the next request to their origin."""

import asyncio
from typing import Final

from service.runtime.containment import contain
from service.runtime.timer import Periodic
from service.upstream.http1.connection import Connection

__all__ = ["ConnectionPool"]

_EVERY: Final = 1.0
"""Seconds between two looks for connections that have rested long enough."""

_DISTRUSTED: Final = 600.0
"""Seconds for which no connection to an origin is kept that has sent what nobody asked for."""
_MOST_DISTRUSTED: Final = 10_000


class ConnectionPool:
    """Keeps at most ``most`` connections, each for its own time; the one that takes a connection has it alone.

    A server that answers what nobody asked may do so just as the next request is written, and then nothing in
    HTTP/1.1 tells the one answer from the other. So the first such bytes end the use of kept connections to their
    origin, for ten minutes: each request there has a connection of its own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Connection, None] = {}
        """The longest resting first."""
        self._origins: dict[str, list[Connection]] = {}
        self._distrusted: dict[str, float] = {}
        """Until when, for each origin; the longest distrusted first."""
        self._timer = Periodic("connection pool", _EVERY, self._close_expired)
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def __repr__(self) -> str:
        return f"<ConnectionPool {len(self._idle)} resting>"

    def has(self, origin: str) -> bool:
        """Return whether a connection to an origin rests."""
        return origin in self._origins

    def acquire(self, origin: str) -> Connection | None:
        """Return the connection to an origin that was used last, if one rests and its time is not over."""
        while resting := self._origins.get(origin):
            # Not by _remove, which looks for it: this is done for each request.
            connection = resting.pop()
            if not resting:
                del self._origins[origin]
            del self._idle[connection]
            connection.on_lost = None
            if connection.idle_until > self._loop.time() and not connection.lost:
                return connection
            connection.close()
        return None

    def put(self, connection: Connection, keep: float) -> None:
        """Keep a connection that rests, for so many seconds."""
        if self._closed or self._distrusts(connection.origin):
            connection.close()
            return
        connection.idle_until = self._loop.time() + keep
        connection.on_lost = self._on_lost
        if not self._idle:
            self._timer.start()
        self._idle[connection] = None
        self._origins.setdefault(connection.origin, []).append(connection)
        if len(self._idle) > self._most:
            self._drop(next(iter(self._idle)))

    def distrust(self, origin: str) -> None:
        """Keep no connection to an origin for a while, and close those that rest."""
        self._distrusted.pop(origin, None)
        self._distrusted[origin] = self._loop.time() + _DISTRUSTED
        if len(self._distrusted) > _MOST_DISTRUSTED:
            del self._distrusted[next(iter(self._distrusted))]
        for connection in tuple(self._origins.get(origin, ())):
            self._drop(connection)

    def close(self) -> None:
        """Close what rests, and keep nothing any more."""
        self._closed = True
        self._timer.stop()
        for connection in tuple(self._idle):
            self._drop(connection)

    def _distrusts(self, origin: str) -> bool:
        until = self._distrusted.get(origin)
        if until is None:
            return False
        if until <= self._loop.time():
            del self._distrusted[origin]
            return False
        return True

    def _drop(self, connection: Connection) -> None:
        self._remove(connection)
        connection.close()

    def _remove(self, connection: Connection) -> None:
        connection.on_lost = None
        if connection not in self._idle:
            return
        del self._idle[connection]
        resting = self._origins[connection.origin]
        if resting[-1] is connection:
            resting.pop()
        else:
            resting.remove(connection)
        if not resting:
            del self._origins[connection.origin]

    def _on_lost(self, connection: Connection) -> None:
        self._remove(connection)
        if connection.unasked:
            self.distrust(connection.origin)

    def _close_expired(self) -> float | None:
        now = self._loop.time()
        for connection in [connection for connection in self._idle if connection.idle_until <= now]:
            contain("a connection that rested could not be closed", self._drop, connection)
        return _EVERY if self._idle else None
