"""Bodies that are being read: how much of them each owner holds, and which of them wait.

How large a body is becomes known as it comes. Where those of an owner have used up its share, the first of them
goes on and the others wait, their upstreams held back by their own connections; each ends at its deadline at the
latest. So an owner holds its share and one body. A body that comes too slowly, or not at all, is ended before.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from io import SEEK_END, BytesIO
from typing import Final

from service.core.owner import Owner
from service.core.pool import Pool
from service.runtime.containment import contain
from service.runtime.timer import Periodic

__all__ = ["LEAST", "PATIENCE", "BodyRead", "BodyReads"]

LEAST: Final = 1024
PATIENCE: Final = 30.0
"""A body that brings less than ``LEAST`` bytes in ``PATIENCE`` seconds is ended; waits for a turn do not count."""
_EVERY: Final = 2.0
"""Seconds between two looks at all bodies."""
_AT_ONCE: Final = 8
"""Bodies that are ended in one turn of the loop, 0.1 ms each: hundreds may stall together."""
_EMPTY: Final = BytesIO()
"""The content of all bodies of which nothing has come."""


class BodyReads:
    """All bodies that are being read, by owner, in the order in which they began."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._bodies: dict[Owner, OrderedDict[BodyRead, None]] = {}
        self._waiting = 0
        """Bodies that wait for their turn."""
        self._timer = Periodic("slow bodies", _EVERY, self._check)

    def __repr__(self) -> str:
        return f"<BodyReads {self._pool!r}>"

    def begin(
        self, owner: Owner, cut: Callable[[], object], waits: Callable[[], object] = lambda: None
    ) -> "BodyRead":
        """Take in a body; :meth:`BodyRead.end` has to follow.

        ``cut`` ends one that comes too slowly; ``waits`` is called when it has to wait for its owner's others.
        """
        body = BodyRead(self, owner, cut, waits, self._loop.time())
        self._bodies.setdefault(owner, OrderedDict())[body] = None
        self._timer.start()
        return body

    def close(self) -> None:
        """Stop looking."""
        self._timer.stop()

    async def charge(self, body: "BodyRead", size: int) -> None:
        """Count a piece in, and wait until the body may go on."""
        self._pool.charge(body.owner, size)
        body.size += size
        while not self._may_go_on(body):
            self._pool.refused += 1
            body.waits()
            body.turn = self._loop.create_future()
            self._waiting += 1
            try:
                await body.turn
            finally:
                self._waiting -= 1
                body.turn = None

    def end(self, body: "BodyRead") -> None:
        """Count a body out, and let those of its owner go on that may."""
        self._pool.release(body.owner, body.size)
        bodies = self._bodies[body.owner]
        del bodies[body]
        if not bodies:
            del self._bodies[body.owner]
        elif self._waiting:
            self._go_on(bodies)

    def _go_on(self, bodies: Iterable["BodyRead"]) -> None:
        """Let the first of an owner's bodies go on, for which there is room."""
        for body in bodies:
            if not self._may_go_on(body):
                return
            if body.turn is not None and not body.turn.done():
                body.turn.set_result(None)

    def _check(self) -> float | None:
        """End what has brought too little for too long."""
        now = self._loop.time()
        slow = []
        for body in [body for bodies in self._bodies.values() for body in bodies]:
            if body.turn is not None or body.size >= body.seen + LEAST:
                body.seen, body.since = body.size, now
            elif now - body.since >= PATIENCE:
                slow.append(body)
        for body in slow[:_AT_ONCE]:
            body.since = now  # it ends in the next turn, and is not to be ended again before
            contain("a slow body could not be ended", body.cut)
        if len(slow) > _AT_ONCE:
            return 0.0
        return _EVERY if self._bodies else None

    def _may_go_on(self, body: "BodyRead") -> bool:
        return self._pool.room(body.owner) > 0 or body is next(iter(self._bodies[body.owner]))


class BodyRead:
    """What is held of one body."""

    __slots__ = ("_content", "_reading", "cut", "owner", "seen", "since", "size", "turn", "waits")

    def __init__(
        self, reading: BodyReads, owner: Owner, cut: Callable[[], object], waits: Callable[[], object], now: float
    ) -> None:
        self.owner = owner
        self.cut, self.waits = cut, waits
        self.size = 0
        self.seen, self.since = 0, now
        """How much had come when it had last brought enough, and when that was."""
        self.turn: asyncio.Future[None] | None = None
        """Set where it waits."""
        self._reading = reading
        self._content = _EMPTY

    def add(self, piece: bytes) -> None:
        """Take in a piece.

        The body grows in place: joining all pieces of 1 MB at its end would be a step of 0.4 ms.
        """
        if self._content is _EMPTY:
            # No copy of the first one, which may be all.
            self._content = BytesIO(piece)
            self._content.seek(0, SEEK_END)
        else:
            self._content.write(piece)

    @property
    def content(self) -> bytes:
        """What it was given, without another copy."""
        return self._content.getvalue()

    async def charge(self, size: int) -> None:
        """Count a piece in, and wait until there is room for the next, or it is the owner's first."""
        await self._reading.charge(self, size)

    def end(self) -> None:
        """Give back what is held."""
        self._reading.end(self)
