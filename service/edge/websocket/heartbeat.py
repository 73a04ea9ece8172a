"""Pings for all connections from one timer, instead of one timer a connection.

Connections are dealt out over as many slots as there are seconds in a heartbeat. Each second one slot is
pinged, and the slot that was pinged half a heartbeat ago is searched for connections from which nothing
has come since: so a dead peer is found within one and a half heartbeats.
"""

import asyncio
from typing import TYPE_CHECKING

from service.upstream.isolation import contain

if TYPE_CHECKING:
    from service.edge.websocket.connection import Connection

__all__ = ["Heartbeat"]


class Heartbeat:
    """The pings of all connections; ``every`` is in seconds."""

    def __init__(self, every: float) -> None:
        count = max(2, round(every))
        self.cut = 0
        """How many gave no sign of life."""
        self._pause = every / count
        self._slots: list[set[Connection]] = [set() for _ in range(count)]
        self._slot_of: dict[Connection, int] = {}
        self._next = 0
        self._dealt = 0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Heartbeat of {len(self._slot_of)} every {self._pause * len(self._slots):g} s>"

    def add(self, connection: "Connection") -> None:
        """Ping this connection from now on."""
        slot = self._slot_of[connection] = self._dealt % len(self._slots)
        self._dealt += 1
        self._slots[slot].add(connection)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="heartbeat")

    def discard(self, connection: "Connection") -> None:
        """Leave this connection alone."""
        slot = self._slot_of.pop(connection, None)
        if slot is not None:
            self._slots[slot].discard(connection)

    async def _run(self) -> None:
        count = len(self._slots)
        while True:
            await asyncio.sleep(self._pause)
            for connection in tuple(self._slots[(self._next - count // 2) % count]):
                contain("a connection's heartbeat failed", self._end_silent, connection)
            for connection in tuple(self._slots[self._next]):
                contain("a connection's heartbeat failed", connection.ping)
            self._next = (self._next + 1) % count

    def _end_silent(self, connection: "Connection") -> None:
        if connection.silent:
            self.cut += 1
            connection.cut_silent()

    async def close(self) -> None:
        """Stop pinging."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
