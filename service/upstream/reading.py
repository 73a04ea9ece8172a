"""Bodies that are being read: how much of them each owner holds, and which of them wait.

How large a body is becomes known as it comes. Where those of an owner have used up its share, the first of them
goes on and the others wait, their upstreams held back by their own connections; each ends at its deadline at the
latest. So an owner holds its share and one body.
"""

import asyncio
from collections import OrderedDict

from service.core.owner import Owner
from service.core.pool import Pool

__all__ = ["Body", "Reading"]


class Reading:
    """All bodies that are being read, by owner, in the order in which they began."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._bodies: dict[Owner, OrderedDict[Body, None]] = {}

    def __repr__(self) -> str:
        return f"<Reading {self._pool!r}>"

    def begin(self, owner: Owner) -> "Body":
        """Take in a body; :meth:`Body.end` has to follow."""
        body = Body(self, owner)
        self._bodies.setdefault(owner, OrderedDict())[body] = None
        return body

    async def take(self, body: "Body", size: int) -> None:
        """Count a piece in, and wait until the body may go on."""
        self._pool.take(body.owner, size)
        body.size += size
        while not self._may_go_on(body):
            self._pool.refused += 1
            body.turn = self._loop.create_future()
            try:
                await body.turn
            finally:
                body.turn = None

    def end(self, body: "Body") -> None:
        """Count a body out, and let those of its owner go on that may."""
        self._pool.give_back(body.owner, body.size)
        bodies = self._bodies[body.owner]
        del bodies[body]
        if not bodies:
            del self._bodies[body.owner]
            return
        for other in bodies:
            if not self._may_go_on(other):
                return
            if other.turn is not None and not other.turn.done():
                other.turn.set_result(None)

    def _may_go_on(self, body: "Body") -> bool:
        return self._pool.room(body.owner) > 0 or body is next(iter(self._bodies[body.owner]))


class Body:
    """What is held of one body."""

    __slots__ = ("_reading", "owner", "size", "turn")

    def __init__(self, reading: Reading, owner: Owner) -> None:
        self.owner = owner
        self.size = 0
        self.turn: asyncio.Future[None] | None = None
        """Set where it waits."""
        self._reading = reading

    async def take(self, size: int) -> None:
        """Count a piece in, and wait until there is room for the next, or it is the owner's first."""
        await self._reading.take(self, size)

    def end(self) -> None:
        """Give back what is held."""
        self._reading.end(self)
