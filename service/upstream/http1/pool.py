"""Connections that rest until the next request to their origin."""

import asyncio
from typing import Final

from service.runtime.containment import contain
from service.runtime.timer import Periodic
from service.upstream.http1.connection import Connection

__all__ = ["ConnectionPool"]

_EVERY: Final = 1.0
"""Seconds between two looks for connections that have rested long enough."""


class ConnectionPool:
    """Keeps at most ``most`` connections, each for its own time; the one that takes a connection has it alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Connection, None] = {}
        """The longest resting first."""
        self._origins: dict[str, list[Connection]] = {}
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
        if self._closed:
            connection.close()
            return
        connection.idle_until = self._loop.time() + keep
        connection.on_lost = self._remove
        if not self._idle:
            self._timer.start()
        self._idle[connection] = None
        self._origins.setdefault(connection.origin, []).append(connection)
        if len(self._idle) > self._most:
            self._drop(next(iter(self._idle)))

    def close(self) -> None:
        """Close what rests, and keep nothing any more."""
        self._closed = True
        self._timer.stop()
        for connection in tuple(self._idle):
            self._drop(connection)

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

    def _close_expired(self) -> float | None:
        now = self._loop.time()
        for connection in [connection for connection in self._idle if connection.idle_until <= now]:
            contain("a connection that rested could not be closed", self._drop, connection)
        return _EVERY if self._idle else None
