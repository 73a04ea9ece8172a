"""Everything back, through the service's own connection code, for conformance suites.

``/echo`` sends back every message of a WebSocket, ``POST /`` every body.
"""

from typing import Final

from aiohttp import WSMsgType, web

from service.core.sessions.closing import NOT_TEXT
from service.edge.http.request_body import read_body
from service.edge.websocket.connection import Connection
from service.edge.websocket.endpoint import WebSockets

__all__ = ["LARGEST", "EchoBodies", "EchoSockets"]

LARGEST: Final = 16 << 20


class EchoSockets(WebSockets):
    """The WebSocket endpoint with another conversation: there are no topics, and no requests."""

    async def _text(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        # Where a request is read, JSON's decoder finds out; here nothing else would.
        try:
            data.decode()
        except UnicodeDecodeError:
            connection.closing = NOT_TEXT
        else:
            await socket.send_frame(data, WSMsgType.TEXT)

    async def _binary(self, socket: web.WebSocketResponse, connection: Connection, data: bytes) -> None:
        await socket.send_frame(data, WSMsgType.BINARY)


class EchoBodies:
    """The body of a request back, with the bounds of any other body: bytes and seconds."""

    def __init__(self, size: int, time: float) -> None:
        self._size = size
        self._time = time

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        return web.Response(body=await read_body(request, self._size, self._time))
