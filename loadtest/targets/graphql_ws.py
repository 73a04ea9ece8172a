"""GraphQL over WebSocket: the protocol ``graphql-transport-ws`` of the library graphql-ws."""

from itertools import count
from typing import Any

import orjson

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import MissedRange, Position
from loadtest.targets.templates import Templates

__all__ = ["GraphqlWs"]


class GraphqlWs(Templates):
    """``--join`` is a subscription of ``$topic``, ``--say`` a mutation of ``$topic`` and ``$data``."""

    HELP = (
        "GraphQL (graphql-transport-ws): --join is the subscription, --say the mutation, variables $topic and $data"
    )
    PATH = "/graphql"
    PROTOCOL = "graphql-transport-ws"
    JOIN = "subscription($topic: String!) { message(topic: $topic) }"
    SAY = "mutation($topic: String!, $data: String!) { publish(topic: $topic, data: $data) }"

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._ids = count(1)

    async def ready(self, socket: Socket) -> None:
        """Initialise the connection."""
        payload = {"Authorization": f"Bearer {socket.token}"} if socket.token else {}
        await socket.ask("ack", orjson.dumps({"type": "connection_init", "payload": payload}))

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Subscribe. Nothing answers that, so a ping behind it is waited for."""
        socket.send(self._operation(f"s{next(self._ids)}", self.options.join or self.JOIN, topic=topic))
        await socket.ask("pong", b'{"type":"ping"}')
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Run the mutation and wait for its result."""
        number = f"m{next(self._ids)}"
        text = self._operation(number, self.options.say or self.SAY, topic=topic, data=data.decode())
        answer = await socket.ask(number, text)
        errors = answer.get("payload") if answer["type"] == "error" else answer.get("payload", {}).get("errors")
        if errors:
            raise ConnectFailed(f"publish: {errors[0].get('message', 'refused')}")
        return None

    @staticmethod
    def _operation(number: str, query: str, **variables: str) -> bytes:
        payload = {"query": query, "variables": variables}
        return orjson.dumps({"id": number, "type": "subscribe", "payload": payload})

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Answer pings; take acknowledgements, results and errors."""
        message: dict[str, Any] = orjson.loads(payload)
        kind = message["type"]
        if kind == "ping":
            socket.send(b'{"type":"pong"}')
        elif kind in ("connection_ack", "pong"):
            socket.answer("ack" if kind == "connection_ack" else "pong", message)
        elif kind in ("next", "error"):
            if socket.answer(message["id"], message):
                return True
            if kind == "error":
                raise ConnectFailed(f"subscribe: {message['payload'][0].get('message', 'refused')}")
            return None
        return True
