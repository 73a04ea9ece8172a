"""One client of the target: its socket, its number, and its account where it has subscribed."""

import asyncio
from typing import TYPE_CHECKING, Any

from loadtest.audience import Audience, Member
from loadtest.sockets import Socket
from loadtest.targets import Position

if TYPE_CHECKING:
    from loadtest.context import Context

__all__ = ["Client"]


class Client:
    """What the context has for each connection."""

    __slots__ = ("_context", "batches", "member", "number", "position", "socket")

    def __init__(self, context: "Context", number: int, socket: Socket) -> None:
        self._context = context
        self.number = number
        self.socket = socket
        self.member: Member | None = None
        self.position = Position()
        self.batches: Any = None
        """The streams of the batches that it has asked for."""
        socket.on_text = self._received

    async def subscribe(self, audience: Audience, member: Member | None = None) -> Position:
        """Subscribe to the audience's topic; as a member that was away, from where it was. Raises ConnectFailed.

        Messages may follow the answer in the same read: they are kept until it is known where they begin.
        """
        early: list[tuple[int, int, float]] = []
        self.socket.on_run = lambda *run: early.append(run)
        since = Position(self.position.epoch, member.expected - 1) if member else None
        self.position = await self._context.target.subscribe(self.socket, audience.topic, since)
        self.member = member or audience.join(self.number, self.position.offset + 1)
        for run in early:
            self.member.took(*run)
        self.socket.on_run = self.member.took
        return self.position

    def beat(self) -> None:
        """Send the target's heartbeat, and again after its time, for as long as the connection lasts."""
        target = self._context.target
        if self.socket.closed:
            return
        try:
            target.beat(self.socket)
        except Exception as error:
            self._context.nonsense(error)
            return
        asyncio.get_running_loop().call_later(target.HEARTBEAT, self.beat)

    def leave(self) -> None:
        """Say goodbye."""
        if not self.socket.closed:
            self._context.left(None)
        self.socket.close()

    def cut(self) -> None:
        """Go without a word."""
        if not self.socket.closed:
            self._context.left(None)
        self.socket.abort()

    def gone(self, socket: Socket) -> None:
        """Take it as expected that the other side has ended it."""
        self._context.left(None)

    def lost(self, socket: Socket) -> None:
        """Note that the other side has ended it."""
        self._context.left(socket.why)

    def _received(self, socket: Socket, payload: bytes) -> None:
        socket.handled = False
        try:
            told = self._context.target.received(socket, payload)
        except Exception as error:
            # In a callback of the loop: nobody above would learn of it.
            self._context.nonsense(error)
            return
        if isinstance(told, tuple):
            if self.member is not None:
                self.member.gap(*told)
        elif not told and not socket.handled and self.member is not None:
            self._context.unrecognised.add(payload)
