"""Servers whose messages the command line describes: ``--join``, ``--joined`` and ``--say``."""

import re
from typing import ClassVar

import orjson

from loadtest.sockets import Socket
from loadtest.targets.base import Position, Target

__all__ = ["Chat", "Templates", "filled"]


def filled(template: str, topic: str, data: bytes = b"") -> bytes:
    """Return a template with the topic (as it stands inside a JSON string), the data, and the data as a string."""
    text = orjson.dumps(data.decode()).decode()
    values = {"{topic}": orjson.dumps(topic).decode()[1:-1], "{data}": data.decode(), "{text}": text}
    # In one pass: data may have braces of its own.
    return re.sub(r"\{(?:topic|data|text)\}", lambda found: values[found[0]], template).encode()


class Templates(Target):
    """What an adapter needs whose messages have defaults that the command line replaces."""

    JOIN: ClassVar[str]
    SAY: ClassVar[str]

    def join_text(self, topic: str) -> bytes:
        """Return what subscribes to a topic."""
        return filled(self.options.join or self.JOIN, topic)

    def say_text(self, topic: str, data: bytes) -> bytes:
        """Return what publishes data to a topic."""
        return filled(self.options.say or self.SAY, topic, data)

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
            await socket.ask("joined", self.join_text(topic))
        else:
            socket.send(self.join_text(topic))
        return Position()

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """Say it; no answer is awaited."""
        socket.send(self.say_text(topic, data))
        return None

    def received(self, socket: Socket, payload: bytes) -> tuple[int, int] | bool | None:
        """Take the answer to a join."""
        if self.is_joined(payload):
            socket.answer("joined", payload)
            return True
        return None
