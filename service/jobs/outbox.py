"""What a worker has to report of an attempt: events in their order, kept until the service has taken them in."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from service.core.jobs.reports import Reported

__all__ = ["AttemptRefused", "Outbox", "ServiceUnreachable"]

_MOST: Final = 1000
"""Events that wait; a function that says more waits with them."""
_REPORT: Final = 256 << 10
"""Bytes of a report, or one event."""
_EACH: Final = 100
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 2.0
"""Seconds until a service is tried again that was not reached: often within a lease."""


class ServiceUnreachable(Exception):
    """The service was not reached, or could not answer now; the text says why."""


class AttemptRefused(Exception):
    """The attempt is not this worker's, or not any more; the text says why."""

    def __init__(self, why: str, *, unknown: bool = False) -> None:
        super().__init__(why)
        self.unknown = unknown
        """Whether the server knows neither the job nor its token: it may not be the one that made the offer."""


class Outbox:
    """Reports again and again, at least every ``heartbeat`` seconds, until the last event was taken in.

    ``send`` gets the body of a report and returns the answer; ``on_stop`` is called once, when the job was
    cancelled.
    """

    def __init__(
        self, send: Callable[[bytes], Awaitable[Reported]], *, heartbeat: float, on_stop: Callable[[], object]
    ) -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._on_stop = on_stop
        self._events: deque[bytes] = deque()
        self._first = 1
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._complete = False
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Outbox of {len(self._events)} events>"

    async def put(self, event: msgspec.Struct) -> None:
        """Add an event; wait while many are there already."""
        while len(self._events) >= _MOST:
            self._room.clear()
            await self._room.wait()
        self._add(event)

    def finish(self, event: msgspec.Struct) -> None:
        """Add the last event."""
        self._add(event)
        self._complete = True

    def _add(self, event: msgspec.Struct) -> None:
        self._events.append(msgspec.json.encode(event))
        self._news.set()

    async def run(self) -> None:
        """Return when the last event was taken in; raise AttemptRefused where the attempt was lost."""
        pause = _FIRST_PAUSE
        while not (self._complete and not self._events):
            await self._wait_for_news()
            try:
                reported = await self._send(self._body())
            except ServiceUnreachable:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
                self._news.set()
                continue
            pause = _FIRST_PAUSE
            self._acknowledged(reported)

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._news.wait()
        except TimeoutError:
            return  # a heartbeat is due

    def _body(self) -> bytes:
        """Return a report of the next events."""
        some: list[bytes] = []
        size = 0
        for event in self._events:
            size += len(event)
            if some and (size > _REPORT or len(some) == _EACH):
                break
            some.append(event)
        if len(some) == len(self._events):
            self._news.clear()
        return b'{"first":%d,"events":[%b]}' % (self._first, b",".join(some))

    def _acknowledged(self, reported: Reported) -> None:
        while self._events and self._first < reported.next:
            self._events.popleft()
            self._first += 1
        if self._events:
            self._news.set()
        self._room.set()
        if reported.stop and not self._stopping:
            self._stopping = True
            self._on_stop()
