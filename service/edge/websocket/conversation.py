"""The messages of a WebSocket, one after the other: each is a JSON-RPC request, or goes to another handler."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from aiohttp import WSMessage, WSMsgType

from service.core.sessions.closing import BINARY, FLOODING, Reply
from service.core.sessions.late_answers import LateAnswers
from service.core.topics.hub import Hub
from service.edge.access.expiries import Expiries
from service.edge.websocket.connection import Connection
from service.edge.websocket.counters import WebSocketCounters
from service.edge.websocket.frames import ClientSocket
from service.runtime.containment import contain
from service.runtime.per_turn import PerTurn
from service.runtime.timer import Periodic
from service.runtime.turns import Turns

__all__ = ["Conversation", "MessageHandler", "RequestHandler", "message_turns"]

_MESSAGES: Final = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})
_TURN: Final = 4 << 10
"""Bytes of one client's messages, each with ``_LEAST`` more, that take about a millisecond."""
_QUANTUM: Final = 512
"""How much of them is carried out before it is another client's turn. Where a turn of the loop
carries out little, a larger quantum would last for ten of them."""
_LEAST: Final = 64
_SECOND: Final = _TURN * 1000
"""Bytes that a second of carrying out messages counts as."""
_QUICK: Final = _LEAST / _SECOND
"""Seconds up to which a message costs what any does: nearly every request takes a third of that."""
_MOST: Final = 4 * _TURN
"""The most bytes that one message counts as."""
_END: Final = 128
"""What the end of a connection counts as: a thousand sockets of one client may end together, 20 us each."""
_ALL: Final = 8 << 10
"""Bytes of all clients' messages, counted as those, that are carried out in one turn of the loop: clients take
turns, however many connections each has."""
_ARRAYS: Final = 32
"""Arrays of requests that are carried out at a time, and as many more for clients that have none under way: what
is left of each is in memory, 1.4 MiB of objects for 64 KiB of text."""
_EVERY: Final = 1.0
"""Seconds between two looks for requests that the store has not answered."""


class MessageHandler(Protocol):
    """Carries out the messages of connections; it ends one by :meth:`Connection.leave`."""

    async def text(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Answer a text message; that it is UTF-8 has not been checked."""
        ...

    async def binary(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Answer a binary message."""
        ...


def message_turns() -> PerTurn:
    """Return the turns in which the messages of an endpoint's clients are carried out."""
    return PerTurn(_ALL, _QUANTUM)


class Conversation:
    """Reads the messages of all connections of one endpoint, and has clients take turns with them."""

    def __init__(self, clock: Callable[[], float], turns: PerTurn) -> None:
        self._clock = clock
        self._turns = turns

    async def run(self, socket: ClientSocket, connection: Connection, handler: MessageHandler) -> None:
        """Carry out the messages of one connection until one side ends it."""
        carried_out = 0
        while connection.closing is None:
            message = await socket.receive()
            connection.alive = True
            cost = max(_LEAST + len(message.data), connection.last_cost) if message.type in _MESSAGES else _END
            carried_out += cost
            await self._turns.wait(connection.owner, cost)
            if message.type is WSMsgType.TEXT:
                await handler.text(socket, connection, message.data)
            elif message.type is WSMsgType.BINARY:
                await handler.binary(socket, connection, message.data)
            elif message.type in _MESSAGES:
                await self._control(socket, connection, message)
            else:
                return
            if connection.last_cost > cost:
                # It cost more than was estimated: the others of this turn have that much less.
                self._turns.spend(connection.last_cost - cost)
            # Otherwise it would stay in memory for as long as the next does not come.
            del message
            if carried_out > _TURN:
                # What has come already is given out without a turn of the loop: a thousand requests, 20 ms.
                carried_out = 0
                await asyncio.sleep(0)

    async def _control(self, socket: ClientSocket, connection: Connection, message: WSMessage) -> None:
        """Answer a ping of a client that is not too fast."""
        answered = connection.session.control(len(message.data), self._clock())
        if answered and message.type is WSMsgType.PING:
            await socket.answer(message.data, WSMsgType.PONG)
        if connection.session.flooding:
            connection.leave(FLOODING)


class RequestHandler:
    """The protocol ``sluice.v1``: each text message is a request for the connection's session."""

    def __init__(self, hub: Hub, traffic: WebSocketCounters, expiries: Expiries, turns: PerTurn) -> None:
        self._hub = hub
        self._turns = turns
        self._traffic = traffic
        self._expiries = expiries
        self._arrays = Turns(_ARRAYS, _ARRAYS)
        self._late: dict[LateAnswers, None] = {}
        """Of clients that wait for the store."""
        self._timer = Periodic("late answers", _EVERY, self._expire)

    def close(self) -> None:
        """Stop timing requests out, and forget the clients that wait for answers."""
        self._timer.stop()
        self._late.clear()

    async def text(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Carry out a request."""
        self._traffic.received += 1
        receive = partial(connection.session.receive, data)
        if data.lstrip().startswith(b"["):
            async with self._arrays.turn(connection.owner):
                answer = await self._carry_out_array(connection, receive)
        else:
            answer = self._carry_out(connection, receive)
        if answer.text:
            self._traffic.answered += 1
            await socket.answer(answer.text)
        if answer.closing is not None:
            connection.leave(answer.closing)
        while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
            await asyncio.sleep(0)

    async def _carry_out_array(self, connection: Connection, receive: Callable[[float], Reply]) -> Reply:
        """Carry out an array of requests, in as many parts as it has."""
        answer = self._carry_out(connection, receive)
        while answer.rest is not None:
            await self._turns.wait(connection.owner, _TURN)
            answer = self._carry_out(connection, answer.rest)
        return answer

    def _carry_out(self, connection: Connection, receive: Callable[[float], Reply]) -> Reply:
        """Carry out a request, or a part of an array; a call, since a coroutine would cost 0.2 us more."""
        session, begin = connection.session, self._hub.clock()
        before = session.grant
        answer = receive(begin)
        taken = self._hub.clock() - begin
        connection.last_cost = min(_MOST, int(taken * _SECOND)) if taken > _QUICK else 0
        if session.grant is not before:
            self._expiries.set(connection, session.grant.until)
        if session.late.bounded:
            self._late[session.late] = None
            self._timer.start()
        return answer

    async def binary(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Refuse it: requests are texts."""
        connection.leave(BINARY)

    def _expire(self) -> float | None:
        """Answer requests that the store has not answered in time."""
        now = self._hub.clock()
        for late in tuple(self._late):
            contain("requests that wait for the store could not be ended", late.expire, now)
            if not late.bounded:
                del self._late[late]
        return _EVERY if self._late else None
