"""What is done with the messages of a WebSocket: each is a JSON-RPC request, or another conversation is given."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSMsgType, web

from service.core.sessions.closing import BINARY
from service.core.topics.hub import Hub
from service.edge.access.expiries import Expiries
from service.edge.websocket.connection import Connection
from service.edge.websocket.counters import WebSocketCounters

__all__ = ["Conversation", "Requests"]


class Conversation(Protocol):
    """Answers the messages of all connections of one endpoint; it ends one by setting ``connection.closing``."""

    async def text(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        """Answer a text message; that it is UTF-8 has not been checked."""
        ...

    async def binary(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        """Answer a binary message."""
        ...


class Requests:
    """The protocol ``sluice.v1``: each text message is a request for the connection's session."""

    def __init__(
        self, hub: Hub, traffic: WebSocketCounters, expiries: Expiries, clock: Callable[[], float]
    ) -> None:
        self._hub = hub
        self._traffic = traffic
        self._expiries = expiries
        self._clock = clock

    async def text(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        """Carry out a request."""
        self._traffic.received += 1
        session = connection.session
        before = session.grant
        answer = session.receive(data, self._clock())
        if session.grant is not before:
            self._expiries.set(connection, session.grant.until)
        if answer.text:
            self._traffic.answered += 1
            await socket.send_frame(answer.text, WSMsgType.TEXT)
        connection.closing = connection.closing or answer.closing
        while self._hub.pressed:  # noqa: ASYNC110 - a turn of the loop is what visits need
            await asyncio.sleep(0)

    async def binary(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        """Refuse it: requests are texts."""
        connection.closing = BINARY
