"""Servers whose messages the command line describes: ``--join``, ``--joined`` and ``--say``."""

import re
from typing import ClassVar

import orjson

from loadtest.sockets import Socket
from loadtest.targets.base import MissedRange, Position, Target

__all__ = ["Chat", "Templates", "filled"]

_NUMBER = re.compile(rb'"n":([0-9]+)')


def filled(template: str, topic: str, data: bytes = b"", token: str = "") -> bytes:
    """Return a template with topic and token (as inside a JSON string), data, the same as a string, its number."""
    text = orjson.dumps(data.decode()).decode()
    number = _NUMBER.search(data)
    values = {
        "{topic}": orjson.dumps(topic).decode()[1:-1], "{data}": data.decode(), "{text}": text,
        "{n}": number[1].decode() if number else "", "{token}": orjson.dumps(token).decode()[1:-1],
    }  # fmt: skip
    # In one pass: data may have braces of its own.
    return re.sub(r"\{(?:topic|data|text|n|token)\}", lambda found: values[found[0]], template).encode()


class Templates(Target):
    """What an adapter needs whose messages have defaults that the command line replaces."""

    JOIN: ClassVar[str]
    SAY: ClassVar[str]

    def join_text(self, socket: Socket, topic: str) -> bytes:
        """Return what subscribes a client to a topic."""
        return filled(self.options.join or self.JOIN, topic, token=socket.token)

    def say_text(self, socket: Socket, topic: str, data: bytes) -> bytes:
        """Return what publishes data to a topic."""
        return filled(self.options.say or self.SAY, topic, data, socket.token)

    def is_joined(self, payload: bytes) -> bool:
        """Return whether a payload is the answer that ``--joined`` describes."""
        pattern = self.options.joined
        return bool(pattern) and re.search(pattern.encode(), payload) is not None


class Chat(Templates):
    """A server that takes and sends plain JSON, or any other text."""

    HELP = "any server of text messages, which --join, --joined and --say describe"
    PATH = "/"
    JOIN = '{"type":"join","room":"{topic}"}'
    SAY = '{"type":"message","room":"{topic}","data":{data}}'

    async def subscribe(self, socket: Socket, topic: str, since: Position | None = None) -> Position:
        """Join, and wait for the answer where one is described."""
        if self.options.joined:
            await socket.ask("joined", self.join_text(socket, topic))
        else:
            socket.send(self.join_text(socket, topic))
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Say it; no answer is awaited."""
        socket.send(self.say_text(socket, topic, data))
        return None

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Take the answer to a join."""
        if self.is_joined(payload):
            socket.answer("joined", payload)
            return True
        return None
