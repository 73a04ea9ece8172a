"""One stream between the connection that fills it and the consumer that takes: bounded, and able to go on."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Literal

from .cursor import Cursor
from .values import Gap, Message, Position, Restart

__all__ = ["MESSAGES", "SIZE", "Stream", "Value"]

MESSAGES: Final = 256
SIZE: Final = 1 << 20
"""What one stream holds for a consumer that does not take: messages, and bytes of their frames. One message more
than the bytes is held, however large it is."""

Value = Message | Gap | Restart
Method = Literal["subscribe", "fetch", "watch"]

_LAST: Final = {"batch": ("done",), "job": ("done", "failed", "cancelled")}
"""The events that end streams, by the beginning of the topic's name."""


class Stream:
    """What has come and was not taken, where the stream is, and how to ask for the rest of it."""

    def __init__(
        self,
        method: Method,
        params: dict[str, Any],
        since: Literal["newest", "oldest"] | Position | None,
        error: Exception | None = None,
    ) -> None:
        self.cursor = Cursor(since)
        self.method = method
        self.params = params
        self.topic: str | None = params.get("topic")
        self.total: int | None = None
        self.left = False
        self.full = False
        """Whether the consumer has to take something first."""
        self.tries = 0
        """Over how many connections it was asked for in vain."""
        self.on_room: Callable[[Stream], None] = lambda stream: None
        """Called when a consumer that was behind has taken half of what was held."""
        self._taken = ("", -1)
        self._held: deque[tuple[Value, int]] = deque()
        self._size = 0
        self._done = False
        self._last: tuple[str, ...] = ()
        self._earlier = 0
        """Up to which offset all is of earlier runs of a job, and ends nothing."""
        self._behind = False
        self._over = False
        self._error: Exception | None = None
        self._begun = asyncio.Event()
        self._news = asyncio.Event()
        if error is not None:
            self.end(error)

    def __repr__(self) -> str:
        return f"<Stream {self.topic or self.method} {self.cursor!r} {len(self._held)} held>"

    @property
    def key(self) -> Hashable:
        """What streams have in common that share one subscription."""
        if self.method == "watch":
            return (self.params.get("url"), self.params.get("select"))
        return self.topic or self

    @property
    def fetching(self) -> bool:
        """Whether this is the stream of a batch that its consumer has begun and whose ``done`` has not come."""
        return self.method == "fetch" and not self._done

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    @property
    def taken(self) -> Position | None:
        """The position of what the consumer had last."""
        return Position(*self._taken) if self._taken[0] else None

    @property
    def begun(self) -> bool:
        """Whether it has a position."""
        return bool(self.cursor.epoch)

    def request(self, since: Position | None = None) -> tuple[str, dict[str, Any]]:
        """Return the method and parameters that begin the stream, or go on where it is, or from ``since``."""
        start = _param(since or self.cursor.since)
        if self.method == "fetch" and self.topic is not None:
            return "subscribe", {"topic": self.topic, "since": start}
        return self.method, self.params if start is None else {**self.params, "since": start}

    def start(self, answer: dict[str, Any], asked: Position | None = None) -> None:
        """Take the answer to a request, which ``asked`` for the place of another stream if it is given."""
        self.topic = answer["topic"]
        self._last = _LAST.get(answer["topic"].partition(":")[0], ())
        self.total = answer.get("total", self.total)
        # A batch is read from its first event on, and its answer does not say so.
        restart = self.cursor.start(answer["epoch"], answer.get("offset", 0), asked)
        if not self._taken[0]:
            self._taken = (self.cursor.epoch, self.cursor.offset)
            self._earlier = _count(answer.get("earlier"))
        self._begun.set()
        if restart is not None:
            self._hold(restart, 0)
        if answer.get("ended") is True:
            self.end(None)

    def message(self, offset: int, data: Any, size: int) -> bool:
        """Take a message whose frame has so many bytes; return whether the stream is full or over now."""
        cursor, topic = self.cursor, self.topic
        assert topic is not None
        if offset == cursor.offset + 1:
            cursor.offset = offset  # as cursor.message does: this runs for every message
        elif not self._new(offset):
            return False
        self._hold(Message(topic, cursor.epoch, offset, data), size)
        if self._last and offset > self._earlier and isinstance(data, dict) and data.get("event") in self._last:
            self._done = True
            self.end(None)
        return self.full or self._over

    def _new(self, offset: int) -> bool:
        new, gap = self.cursor.message(offset)
        if gap is not None:
            self._hold(gap, 0)
        return new

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

    def leave(self) -> None:
        """Drop what is held, and end the loops that wait for more."""
        self.left = True
        self._held.clear()
        self._size = 0
        self.full = False
        if self._over:
            self._error = None
        else:
            self.end(None)

    def _hold(self, value: Value, size: int) -> None:
        held = self._held
        if not held:
            self._news.set()
        held.append((value, size))
        self._size += size
        if len(held) >= MESSAGES or self._size >= SIZE:
            self.full = self._behind = True

    async def confirmed(self) -> None:
        """Return when the first answer has come; raises what came instead."""
        await self._begun.wait()
        if not self.begun and self._error is not None:
            raise self._error

    async def news(self) -> bool:
        """Return when there is something to take, or False after the last; raises what ended the stream."""
        while not self._held:
            if self._error is not None:
                raise self._error
            if self._over:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def pop(self) -> Value | None:
        """Return the next value if one has come."""
        if not self._held:
            return None
        value, size = self._held.popleft()
        self._size -= size
        self._taken = (self._taken[0], value.last) if isinstance(value, Gap) else (value.epoch, value.offset)
        if self._behind:
            self._catch_up()
        return value

    def _catch_up(self) -> None:
        """Note that there is room again, and tell that half of it is free."""
        left = len(self._held)
        self.full = left >= MESSAGES or self._size >= SIZE
        if left <= MESSAGES // 2 and self._size <= SIZE // 2:
            self._behind = False
            self.on_room(self)


def _count(value: Any) -> int:
    return value if type(value) is int else 0


def _param(since: Literal["newest", "oldest"] | Position | None) -> Any:
    return {"epoch": since.epoch, "offset": since.offset} if isinstance(since, Position) else since
