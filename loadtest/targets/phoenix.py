"""Phoenix channels: the JSON serializer, version 2."""

from itertools import count
from typing import Any

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Position
from loadtest.targets.templates import Templates

__all__ = ["Phoenix"]


class Phoenix(Templates):
    """Channels are joined with the payload of ``--join``; ``--say`` is an event's name and its payload."""

    HELP = "Phoenix channels: --join is the payload of phx_join, --say an event and its payload; --prefix room:x"
    PATH = "/socket/websocket?vsn=2.0.0"
    HEARTBEAT = 30.0
    JOIN = "{}"
    SAY = '["new_msg",{data}]'

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._refs = count(1)

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Join the channel."""
        ref = str(next(self._refs))
        payload = orjson.Fragment(self.join_text(socket, topic))
        reply = await socket.ask(ref, orjson.dumps([ref, ref, topic, "phx_join", payload]))
        if reply["status"] != "ok":
            raise ConnectFailed(f"join: {orjson.dumps(reply['response']).decode()[:200]}")
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Push the event; channels need not reply."""
        event, payload = orjson.loads(self.say_text(socket, topic, data))
        socket.send(orjson.dumps([None, str(next(self._refs)), topic, event, payload]))
        return None

    def beat(self, socket: Socket) -> None:
        """Send the heartbeat without which Phoenix ends a connection after a minute."""
        socket.send(orjson.dumps([None, str(next(self._refs)), "phoenix", "heartbeat", {}]))

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Take replies and the end of a channel."""
        message: list[Any] = orjson.loads(payload)
        _, ref, topic, event, content = message
        if event == "phx_reply":
            socket.answer(ref, content)
        elif event in ("phx_error", "phx_close"):
            raise ConnectFailed(f"{event} of {topic}")
        else:
            return None
        return True
