"""One stream between the connection that fills it and the consumer that takes: bounded, and able to go on."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from service.client.cursor import Cursor
from service.client.values import Gap, Message, Position, Restart, Since

__all__ = ["MESSAGES", "SIZE", "Stream", "Value"]

MESSAGES: Final = 256
SIZE: Final = 1 << 20
"""What one stream holds for a consumer that does not take: messages, and bytes of their frames. One message more
than the bytes is held, however large it is."""

Value = Message | Gap | Restart


class Stream:
    """What has come and was not taken, where the stream is, and how to ask for the rest of it."""

    def __init__(self, method: str, params: dict[str, Any], since: Since | None) -> None:
        self.cursor = Cursor(since)
        self.topic: str | None = params.get("topic")
        self.total: int | None = None
        self.taken: Position | None = None
        """The position of what the consumer had last."""
        self.left = False
        self.on_room: Callable[[Stream], None] = lambda stream: None
        """Called when a consumer that was behind has taken half of what was held."""
        self._method = method
        self._params = params
        self._held: deque[tuple[Value, Position, int]] = deque()
        self._size = 0
        self._over = False
        self._error: Exception | None = None
        self._begun = asyncio.Event()
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Stream {self.topic or self._method} {self.cursor!r} {len(self._held)} held>"

    @property
    def full(self) -> bool:
        """Whether the consumer has to take something first."""
        return len(self._held) >= MESSAGES or self._size >= SIZE

    @property
    def fetching(self) -> bool:
        """Whether it is of a batch that its consumer has begun, and that has not come to its ``done``."""
        return self._method == "fetch" and not (self._over and self._error is None)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    def request(self) -> tuple[str, dict[str, Any]]:
        """Return the method and parameters that begin the stream, or go on with it where it is."""
        if self._method == "fetch" and self.topic is not None:
            return "subscribe", {"topic": self.topic, "since": _param(self.cursor.since)}
        since = self.cursor.since
        return self._method, self._params if since is None else {**self._params, "since": _param(since)}

    def start(self, answer: dict[str, Any]) -> None:
        """Take the answer to the request."""
        self.topic = answer["topic"]
        self.total = answer.get("total", self.total)
        # A batch is told from its first event on, and its answer does not say so.
        restart = self.cursor.start(answer["epoch"], answer.get("offset", 0))
        if self.taken is None:
            self.taken = self.cursor.position
        self._begun.set()
        if restart is not None:
            self._hold(restart, 0)

    def message(self, offset: int, data: Any, size: int) -> None:
        """Take a message whose frame has so many bytes."""
        new, gap = self.cursor.message(offset)
        if gap is not None:
            self._hold(gap, 0)
        if not new:
            return
        position = self.cursor.position
        assert self.topic is not None
        assert position is not None
        self._hold(Message(self.topic, position.epoch, offset, data), size)
        if self.topic.startswith("batch:") and data.get("event") == "done":
            self.end(None)

    def gap(self, first: int, last: int) -> None:
        """Take a gap."""
        gap = self.cursor.gap(first, last)
        if gap is not None:
            self._hold(gap, 0)

    def end(self, error: Exception | None) -> None:
        """Let nothing more come; the consumer meets ``error`` after it has taken what is held."""
        if not self._over:
            self._over, self._error = True, error
            self._begun.set()
            self._news.set()

    def _hold(self, value: Value, size: int) -> None:
        position = self.cursor.position
        assert position is not None
        self._held.append((value, position, size))
        self._size += size
        self._news.set()

    async def confirmed(self) -> None:
        """Return when the first answer has come; raises what came instead."""
        await self._begun.wait()
        if self.cursor.position is None and self._error is not None:
            raise self._error

    async def take(self) -> Value | None:
        """Return the next value, None after the last; raises what ended the stream."""
        while not self._held:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._news.clear()
            await self._news.wait()
        behind = self._roomy
        value, self.taken, size = self._held.popleft()
        self._size -= size
        if self._roomy and not behind:
            self.on_room(self)
        return value

    @property
    def _roomy(self) -> bool:
        return len(self._held) <= MESSAGES // 2 and self._size <= SIZE // 2


def _param(since: Since | None) -> Any:
    return {"epoch": since.epoch, "offset": since.offset} if isinstance(since, Position) else since
