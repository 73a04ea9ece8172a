"""Connections that rest until the next request to their origin."""

import asyncio
import select
from time import monotonic
from typing import Final

from service.upstream.http1.connection import Connection

__all__ = ["Pool"]

_EVERY: Final = 1.0
"""Seconds between two looks for connections that have rested long enough."""
_ASKED_FOR: Final = 0.001
"""Seconds for which the kernel's answer counts. A call for each request takes a tenth of a small fetch."""
_UNASKED: Final = select.POLLIN | select.POLLRDHUP


class Pool:
    """Keeps at most ``most`` connections, each for its own time; the one that takes a connection has it alone.

    Before one is used, the kernel is asked about all of them at once: one to which something has come that nobody
    asked for, or its end, is closed, though the loop may not have read that yet (RFC 9112, section 9.2).
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._idle: dict[int, Connection] = {}
        """By descriptor, the longest resting first."""
        self._origins: dict[str, list[Connection]] = {}
        self._poll = select.poll()
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def __repr__(self) -> str:
        return f"<Pool {len(self._idle)} resting>"

    def resting(self, origin: str) -> bool:
        """Return whether there is a connection to an origin."""
        return origin in self._origins

    def take(self, origin: str, *, surely: bool = False) -> Connection | None:
        """Return the connection to an origin that was used last and can be used still.

        ``surely`` has the kernel asked at this very moment, for a request that cannot be made again.
        """
        if origin in self._origins:
            self._ask_kernel(_ASKED_FOR if not surely else 0.0)
        while resting := self._origins.get(origin):
            connection = resting[-1]
            self._remove(connection)
            if connection.idle_until > self._loop.time() and not connection.lost:
                return connection
            connection.close()
        return None

    def _ask_kernel(self, age: float) -> None:
        """Close the connections that something has come to, if that was not asked ``age`` seconds ago or later."""
        now = monotonic()
        if now - self._asked_at < age:
            return
        self._asked_at = now
        for descriptor, _ in self._poll.poll(0):
            self._drop(self._idle[descriptor])

    def put(self, connection: Connection) -> None:
        """Take in a connection whose answer was taken, if it can be kept."""
        keep = connection.rest()
        if keep <= 0:
            return
        if self._closed:
            connection.close()
            return
        connection.idle_until = self._loop.time() + keep
        connection.on_lost = self._remove
        self._idle[connection.descriptor] = connection
        self._origins.setdefault(connection.origin, []).append(connection)
        self._poll.register(connection.descriptor, _UNASKED)
        if len(self._idle) > self._most:
            self._drop(next(iter(self._idle.values())))
        if self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._look)

    def close(self) -> None:
        """Close what rests, and keep nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._idle.values()):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._remove(connection)
        connection.close()

    def _remove(self, connection: Connection) -> None:
        connection.on_lost = None
        if self._idle.pop(connection.descriptor, None) is None:
            return
        self._poll.unregister(connection.descriptor)
        resting = self._origins[connection.origin]
        if resting[-1] is connection:
            resting.pop()
        else:
            resting.remove(connection)
        if not resting:
            del self._origins[connection.origin]

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in [connection for connection in self._idle.values() if connection.idle_until <= now]:
            self._drop(connection)
        if self._idle:
            self._timer = self._loop.call_later(_EVERY, self._look)
