"""sluice: JSON-RPC 2.0 over one WebSocket."""

from time import monotonic
from typing import Any, ClassVar

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Position, Target

__all__ = ["Sluice"]


class Sluice(Target):
    """The service itself; docs/protocol.md has the messages."""

    HELP = "a sluice service (default)"
    PROTOCOL = "sluice.v1"
    MARKER = b'"offset":'
    TOPIC = b'"topic":'
    OPENING = b'{"jsonrpc":"2.0","method":"message",'
    CAN: ClassVar[frozenset[str]] = frozenset(
        {"connect", "idle", "churn", "echo", "broadcast", "fetch", "watch", "resume", "slow-readers", "capacity"}
    )

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._asked = 0

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe from the newest message, or from a position."""
        start = {"since": {"epoch": since.epoch, "offset": since.offset}} if since else {}
        result = await self.call(socket, "subscribe", topic=topic, **start)
        return Position(str(result["epoch"]), int(result["offset"]), bool(result["recovered"]))

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Publish; the service returns the offset."""
        return int((await self.call(socket, "publish", topic=topic, data=orjson.Fragment(data)))["offset"])

    async def publish_once(self, socket: Socket, topic: str, data: bytes, key: str) -> int:
        """Publish with a key: however often this is called with it, the message is published once."""
        result = await self.call(socket, "publish", topic=topic, data=orjson.Fragment(data), key=key)
        return int(result["offset"])

    async def ready(self, socket: Socket) -> None:
        """Ping: credentials are refused after the upgrade, so only an answer says that the client is in."""
        await self.call(socket, "ping")

    async def echo(self, socket: Socket, data: bytes) -> None:
        """Ping: a round trip through the protocol."""
        await self.call(socket, "ping")

    async def call(self, socket: Socket, method: str, **params: Any) -> dict[str, Any]:
        """Call a method and return its result; raises ConnectFailed with the error's text."""
        self._asked += 1
        request = {"jsonrpc": "2.0", "id": self._asked, "method": method, "params": params}
        answer = await socket.ask(self._asked, orjson.dumps(request))
        if "error" in answer:
            raise ConnectFailed(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Take answers, gaps and the end."""
        message = orjson.loads(payload)
        if "id" in message:
            socket.answer(message["id"], message)
        elif message["method"] == "message" and socket.on_run is not None:
            # Written with other spaces than ours, so not recognised by its first bytes.
            socket.on_run(message["params"]["offset"], 1, monotonic())
        elif message["method"] == "gap":
            return message["params"]["from"], message["params"]["to"], message["params"]["topic"]
        elif message["method"] == "closing":
            socket.why = f"the service is closing: {message['params'].get('reason', '')}"
        return True
