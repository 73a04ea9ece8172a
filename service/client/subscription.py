"""What a program iterates over: the messages of a topic, the events of a batch, those of a watch."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Protocol, Self, TypeVar

from service.client.stream import Stream, Value
from service.client.values import Gap, Message, Position, Restart

__all__ = ["Batch", "Event", "Subscription"]

_T = TypeVar("_T")
Event = dict[str, Any]
"""An event as docs/protocol.md has it: an object with ``event`` and what belongs to that."""


class Opener(Protocol):
    """The part of the client that a subscription uses."""

    async def open_stream(self, stream: Stream, body: bytes | None) -> None:
        """Have the stream filled from now on; ``body`` goes by POST first."""

    def leave_stream(self, stream: Stream) -> None:
        """Have the stream filled no more."""

    async def cancel(self, batch: str) -> int:
        """End a batch."""


class Subscription(Generic[_T]):
    """An asynchronous iterable that begins when it is iterated over, and ends when the iteration is left.

    As an asynchronous context manager it begins with its block, which is entered as soon as the service has
    confirmed it: what is published from then on arrives. It can be iterated over once.
    """

    def __init__(
        self, client: Opener, stream: Stream, show: Callable[[Value], _T], body: bytes | None = None
    ) -> None:
        self._client = client
        self._stream = stream
        self._show = show
        self._body = body
        self._opened = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stream!r}>"

    @property
    def topic(self) -> str | None:
        """The topic's name; None as long as the service has to say it."""
        return self._stream.topic

    @property
    def position(self) -> Position | None:
        """The position of what was taken last: ``since`` for another program that goes on from here."""
        return self._stream.taken

    async def __aenter__(self) -> Self:
        try:
            await self._open()
            await self._stream.confirmed()
        except BaseException:
            self._client.leave_stream(self._stream)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.leave_stream(self._stream)

    async def __aiter__(self) -> AsyncIterator[_T]:
        """Yield what comes; raises Refused, Disconnected or ClientClosed, after all that came before it."""
        if self._stream.left:
            raise RuntimeError("it was left: ask the client for another one")
        try:
            await self._open()
            while (value := await self._stream.take()) is not None:
                yield self._show(value)
        finally:
            self._client.leave_stream(self._stream)

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            await self._client.open_stream(self._stream, self._body)


class Batch(Subscription[Event]):
    """The events of one batch: ``result`` or ``failed`` for each URL, then ``done``."""

    @property
    def id(self) -> str | None:
        """The batch's id, with which anyone may read or cancel it; None as long as the service has to say it."""
        return self.topic.removeprefix("batch:") if self.topic else None

    @property
    def total(self) -> int | None:
        """How many URLs it has; None as long as the service has to say it."""
        return self._stream.total

    async def cancel(self) -> int:
        """End it, and return how many URLs had not finished; each of them still gets its ``failed``."""
        return await self._client.cancel(self.id) if self.id else 0


def as_event(value: Value) -> Event:
    """Return an event; what a stream has to say of itself looks as it does in NDJSON."""
    match value:
        case Message():
            event: Event = value.data
            return event
        case Gap():
            return {"event": "gap", "from": value.first, "to": value.last}
        case Restart():
            return {"event": "start", "epoch": value.epoch, "offset": value.offset, "recovered": False}
