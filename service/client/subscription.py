"""What a program iterates over: the messages of a topic, the events of a batch, those of a watch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, Protocol, Self, TypeVar

from .events import BatchEvent
from .stream import Stream, Value
from .values import Position

__all__ = ["Batch", "Subscription"]

_T = TypeVar("_T")


class Opener(Protocol):
    """The part of the client that a subscription uses."""

    def open_stream(self, stream: Stream, body: bytes | None) -> None:
        """Have the stream filled from now on; ``body`` goes by POST first."""

    def leave_stream(self, stream: Stream) -> None:
        """Have the stream filled no more."""

    async def cancel(self, batch: str) -> int:
        """End a batch."""


class Subscription(Generic[_T]):
    """An asynchronous iterable that begins when it is iterated over, and ends when the iteration is left.

    As an asynchronous context manager it begins with its block, which is entered as soon as the service has
    confirmed it: what is published from then on arrives. It then ends with the block, and a loop that was left
    inside can be followed by another. It has one loop at a time.
    """

    def __init__(
        self, client: Opener, stream: Stream, show: Callable[[Value], _T], body: bytes | None = None
    ) -> None:
        self._client = client
        self._stream = stream
        self._show = show
        self._body = body
        self._opened = False
        self._entered = False
        self._iterating = False

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
        self._entered = True
        try:
            self._open()
            await self._stream.confirmed()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def __aiter__(self) -> AsyncIterator[_T]:
        """Iterate over what comes; raises Refused, Disconnected or ClientClosed, after all that came before it."""
        if self._stream.left:
            raise RuntimeError("this subscription was left: ask the client for another one")
        if self._iterating:
            raise RuntimeError("this subscription has a loop already: ask the client for another subscription")
        self._iterating = True
        return _Iteration(self)

    def _open(self) -> None:
        if not self._opened:
            self._opened = True
            self._client.open_stream(self._stream, self._body)

    async def _next(self, held: "list[_Iteration[_T]]") -> _T:
        """Return the next value; ``held`` keeps the iteration for as long as this runs, and no longer."""
        value = self._stream.pop()
        if value is None:
            value = await self._coming(held)
        return self._show(value)

    async def _coming(self, held: "list[_Iteration[_T]]") -> Value:
        try:
            self._open()
            while (value := self._stream.pop()) is None and await self._stream.news():
                pass
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._done()
            raise
        else:
            if value is None:
                self._done()
                raise StopAsyncIteration
            return value
        finally:
            held.clear()

    def _done(self) -> None:
        """End a loop."""
        self._iterating = False
        if not self._entered or self._stream.over:
            self._leave()

    def _leave(self) -> None:
        self._client.leave_stream(self._stream)


class _Iteration(Generic[_T]):
    """One loop over a subscription. The loop is left when nothing refers to this any more."""

    def __init__(self, subscription: Subscription[_T]) -> None:
        self._subscription: Subscription[_T] | None = subscription
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, _T]:
        """Return the next value. A step that is cancelled loses nothing: the next one goes on."""
        if self._subscription is None:
            return _ended()
        return self._subscription._next([self])

    async def aclose(self) -> None:
        """Leave the loop."""
        self._end()

    def _end(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None and subscription._iterating:
            subscription._done()

    def __del__(self) -> None:
        if self._subscription is None or self._loop.is_closed():
            return
        # A collector of cycles may run in any thread.
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            self._loop.call_soon_threadsafe(self._subscription._done)


async def _ended() -> Any:
    raise StopAsyncIteration


class Batch(Subscription[BatchEvent]):
    """The events of one batch: a ``Result`` or ``Failed`` for each URL, then ``Done``."""

    @property
    def id(self) -> str | None:
        """The batch's id, with which anyone may read or cancel it; None as long as the service has to say it."""
        return self.topic.removeprefix("batch:") if self.topic else None

    @property
    def total(self) -> int | None:
        """How many URLs it has; None as long as the service has to say it."""
        return self._stream.total

    async def cancel(self) -> int:
        """End it, and return how many URLs had not finished; each of them still gets its ``Failed``."""
        return await self._client.cancel(self.id) if self.id else 0
