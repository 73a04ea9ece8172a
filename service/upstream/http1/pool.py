"""Connections that rest until their owner's next request to their origin."""

import asyncio
from typing import Final

from service.runtime.containment import contain
from service.runtime.timer import Periodic
from service.upstream.http1.connection import Connection, Use

__all__ = ["ConnectionPool"]

_EVERY: Final = 1.0
"""Seconds between two looks for connections that have rested long enough."""

_DISTRUSTED: Final = 600.0
"""Seconds for which no connection is kept of an owner to an origin that has sent what it did not ask for."""
_MOST_DISTRUSTED: Final = 10_000


class ConnectionPool:
    """Keeps at most ``most`` connections, each for its own time; the one that takes a connection has it alone.

    A server that answers what nobody asked may do so just as the next request is written, and then nothing in
    HTTP/1.1 tells the one answer from the other. So a connection carries requests of one owner alone, and the first
    such bytes end the use of kept connections to their origin for that owner, for ten minutes: each of its requests
    there has a connection of its own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Connection, None] = {}
        """The longest resting first."""
        self._resting: dict[Use, list[Connection]] = {}
        self._distrusted: dict[Use, float] = {}
        """Until when; the longest distrusted first."""
        self._timer = Periodic("connection pool", _EVERY, self._close_expired)
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def __repr__(self) -> str:
        return f"<ConnectionPool {len(self._idle)} resting>"

    def has(self, use: Use) -> bool:
        """Return whether a connection rests for this use."""
        return use in self._resting

    def acquire(self, use: Use) -> Connection | None:
        """Return the connection that was used last for this, if one rests and its time is not over."""
        while resting := self._resting.get(use):
            # Not by _remove, which looks for it: this is done for each request.
            connection = resting.pop()
            if not resting:
                del self._resting[use]
            del self._idle[connection]
            connection.on_lost = None
            if connection.idle_until > self._loop.time() and not connection.lost:
                return connection
            connection.close()
        return None

    def put(self, connection: Connection, keep: float) -> None:
        """Keep an idle connection for this many seconds."""
        if self._closed or self._distrusts(connection.use):
            connection.close()
            return
        connection.idle_until = self._loop.time() + keep
        connection.on_lost = self._on_lost
        if not self._idle:
            self._timer.start()
        self._idle[connection] = None
        self._resting.setdefault(connection.use, []).append(connection)
        if len(self._idle) > self._most:
            self._drop(next(iter(self._idle)))

    def distrust(self, use: Use) -> None:
        """Keep no connection for this use for a while, and close those that rest."""
        self._distrusted.pop(use, None)
        self._distrusted[use] = self._loop.time() + _DISTRUSTED
        if len(self._distrusted) > _MOST_DISTRUSTED:
            del self._distrusted[next(iter(self._distrusted))]
        for connection in tuple(self._resting.get(use, ())):
            self._drop(connection)

    def close(self) -> None:
        """Close what rests, and keep nothing any more."""
        self._closed = True
        self._timer.stop()
        for connection in tuple(self._idle):
            self._drop(connection)

    def _distrusts(self, use: Use) -> bool:
        until = self._distrusted.get(use)
        return until is not None and until > self._loop.time()

    def _drop(self, connection: Connection) -> None:
        self._remove(connection)
        connection.close()

    def _remove(self, connection: Connection) -> None:
        connection.on_lost = None
        if connection not in self._idle:
            return
        del self._idle[connection]
        resting = self._resting[connection.use]
        if resting[-1] is connection:
            resting.pop()
        else:
            resting.remove(connection)
        if not resting:
            del self._resting[connection.use]

    def _on_lost(self, connection: Connection) -> None:
        self._remove(connection)
        if connection.unasked:
            self.distrust(connection.use)

    def _close_expired(self) -> float | None:
        now = self._loop.time()
        for connection in [connection for connection in self._idle if connection.idle_until <= now]:
            contain("a connection that rested could not be closed", self._drop, connection)
        return _EVERY if self._idle else None
