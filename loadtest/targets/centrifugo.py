"""Centrifugo's JSON protocol (client protocol version 2)."""

from itertools import count
from typing import Any

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Position, Target

__all__ = ["Centrifugo"]


class Centrifugo(Target):
    """Channels are subscribed to and published to by clients, as its configuration allows them."""

    HELP = "Centrifugo's JSON protocol; --token goes into connect"
    PATH = "/connection/websocket"
    # The answer to a subscription may have messages, too.
    OPENING = b'{"push":'
    SEPARATOR = b"\n"
    CAN = Target.CAN | {"resume"}

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._ids = count(1)

    async def ready(self, socket: Socket) -> None:
        """Connect."""
        await self._call(socket, "connect", **({"token": socket.token} if socket.token else {}))

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe to the channel; from a position, if the channel keeps a history for that."""
        if since is None:
            found = await self._call(socket, "subscribe", channel=topic)
        else:
            # Its own offsets count all publications; ours begin where the client came in.
            offset = int(since.mark or 0) + since.offset
            found = await self._call(
                socket, "subscribe", channel=topic, recover=True, epoch=since.epoch, offset=offset
            )
        if self.options.resumes and not found.get("recoverable"):
            raise ConnectFailed("subscribe: the channel is not recoverable (Centrifugo: force_recovery, history)")
        recovered = found.get("recovered") if since else None
        begun = since.mark if since else str(found.get("offset", 0))
        return Position(str(found.get("epoch", "")), 0, recovered, begun)

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Publish to the channel."""
        await self._call(socket, "publish", channel=topic, data=orjson.Fragment(data))
        return None

    async def _call(self, socket: Socket, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = await socket.ask(number, orjson.dumps({"id": number, method: params}))
        if "error" in answer:
            raise ConnectFailed(f"{method}: {answer['error'].get('code')} {answer['error'].get('message')}")
        result: dict[str, Any] = answer.get(method) or {}
        return result

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Answer pings; take replies and the end."""
        message: dict[str, Any] = orjson.loads(payload)
        if not message:
            socket.send(b"{}")
        elif "id" in message:
            socket.answer(message["id"], message)
            # What was missed stands in the answer, and comes before what follows it.
            for publication in message.get("subscribe", {}).get("publications") or ():
                socket.deliver(orjson.dumps({"push": {"pub": publication}}))
        elif "disconnect" in message.get("push", {}):
            socket.why = f"disconnected: {message['push']['disconnect'].get('reason', '')}"
        elif "pub" in message.get("push", {}):
            return None
        return True
