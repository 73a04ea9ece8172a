"""``/echo``: every message back, through the endpoint's own connection code, for conformance suites."""

from typing import Final

from aiohttp import WSMsgType, web

from service.core.closing import NOT_TEXT
from service.edge.connection import Connection
from service.edge.websocket import WebSockets

__all__ = ["LARGEST", "EchoSockets"]

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
