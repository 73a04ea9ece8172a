"""Pings for all connections from one timer, instead of one timer a connection.

Connections are dealt out over as many slots as there are seconds in a heartbeat. Each second one slot is
pinged, and the slot that was pinged half a heartbeat ago is searched for connections from which nothing
has come since: so a dead peer is found within one and a half heartbeats.
"""

from typing import Final

from service.core.owner import SERVICE
from service.edge.websocket.connection import Connection
from service.runtime.containment import contain
from service.runtime.per_turn import PerTurn
from service.runtime.timer import Periodic

__all__ = ["PingTimer"]

_PINGED: Final = 32
"""Connections that are pinged in one turn of the loop, 15 us each: 10,000 of them are 400 at a time."""
_FAILED: Final = "a connection's heartbeat failed"


class PingTimer:
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
        self._turns = PerTurn(_PINGED, what=_FAILED)
        self._timer = Periodic("heartbeat", self._pause, self._beat)

    def __repr__(self) -> str:
        return f"<PingTimer of {len(self._slot_of)} every {self._pause * len(self._slots):g} s>"

    def add(self, connection: Connection) -> None:
        """Ping this connection from now on."""
        slot = self._slot_of[connection] = self._dealt % len(self._slots)
        self._dealt += 1
        self._slots[slot].add(connection)
        self._timer.start()

    def discard(self, connection: Connection) -> None:
        """Leave this connection alone."""
        slot = self._slot_of.pop(connection, None)
        if slot is not None:
            self._slots[slot].discard(connection)

    def _beat(self) -> float | None:
        if self._turns.waiting:
            # The loop is behind: a client that is pinged only now would have less than half a heartbeat to answer.
            return self._pause
        count = len(self._slots)
        for connection in tuple(self._slots[(self._next - count // 2) % count]):
            contain(_FAILED, self._end_silent, connection)
        for connection in tuple(self._slots[self._next]):
            self._turns.call(SERVICE, connection.ping)
        self._next = (self._next + 1) % count
        return self._pause if self._slot_of else None

    def _end_silent(self, connection: Connection) -> None:
        if connection.silent:
            self.cut += 1
            connection.cut_silent()

    def close(self) -> None:
        """Stop pinging."""
        self._timer.stop()
