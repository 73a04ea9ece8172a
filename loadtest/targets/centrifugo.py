"""Centrifugo's JSON protocol (client protocol version 2)."""

from itertools import count
from typing import Any

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import Position, Target

__all__ = ["Centrifugo"]


class Centrifugo(Target):
    """Channels are subscribed to and published to by clients, as its configuration allows them."""

    HELP = "Centrifugo's JSON protocol; --token goes into connect"
    PATH = "/connection/websocket"
    SEPARATOR = b"\n"

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._ids = count(1)

    async def ready(self, socket: Socket) -> None:
        """Connect."""
        await self._call(socket, "connect", **({"token": self.options.token} if self.options.token else {}))

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe to the channel."""
        await self._call(socket, "subscribe", channel=topic)
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Publish to the channel."""
        await self._call(socket, "publish", channel=topic, data=orjson.Fragment(data))
        return None

    async def _call(self, socket: Socket, method: str, **params: Any) -> None:
        number = next(self._ids)
        answer = await socket.ask(number, orjson.dumps({"id": number, method: params}))
        if "error" in answer:
            raise ConnectFailed(f"{method}: {answer['error'].get('code')} {answer['error'].get('message')}")

    def received(self, socket: Socket, payload: bytes) -> tuple[int, int] | bool | None:
        """Answer pings; take replies and the end."""
        message: dict[str, Any] = orjson.loads(payload)
        if not message:
            socket.send(b"{}")
        elif "id" in message:
            socket.answer(message["id"], message)
        elif "disconnect" in message.get("push", {}):
            socket.why = f"disconnected: {message['push']['disconnect'].get('reason', '')}"
        elif "pub" in message.get("push", {}):
            return None
        return True
