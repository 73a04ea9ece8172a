"""Echoes what clients send, through the connection code of the service: for conformance suites.

``/echo`` sends back every message of a WebSocket, ``POST /`` every body.
"""

from typing import Final

from aiohttp import WSMsgType, web

from service.core.sessions.closing import NOT_TEXT
from service.edge.access.credentials import OWNER
from service.edge.http.request_body import read_body
from service.edge.websocket.connection import Connection
from service.edge.websocket.frames import ClientSocket

__all__ = ["LARGEST", "Echo", "EchoBodies"]

LARGEST: Final = 16 << 20


class Echo:
    """A handler without topics and requests: each message is sent back."""

    async def text(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Send it back, if it is UTF-8."""
        # Where a request is read, JSON's decoder finds out; here nothing else would.
        try:
            data.decode()
        except UnicodeDecodeError:
            connection.leave(NOT_TEXT)
        else:
            await socket.answer(data)

    async def binary(self, socket: ClientSocket, connection: Connection, data: bytes) -> None:
        """Send it back."""
        await socket.answer(data, WSMsgType.BINARY)


class EchoBodies:
    """The body of a request back, with the bounds of any other body: bytes and seconds."""

    def __init__(self, size: int, time: float) -> None:
        self._size = size
        self._time = time

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        return web.Response(body=await read_body(request, request[OWNER], self._size, self._time))
