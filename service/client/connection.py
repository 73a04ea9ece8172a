"""One WebSocket of the client, from its upgrade to its end: requests out, answers and messages in.

Theory of operation. Every request has a continuation, which runs as soon as the answer is read and before
the next frame is looked at: messages follow the answer that they belong to. A stream whose consumer does not
take is *full*; while one is, nothing is read, so that the service sees a slow reader and does by it what
``on_lag`` says. But other streams, calls (the consumer's own, too) and signs of life come over the same socket.
So after a while, or at once where somebody waits for an answer, a stream without room is *parked*: it is
unsubscribed, and goes on from its position when its consumer has caught up.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import count
from typing import Any, Final

import orjson
from aiohttp import ClientWebSocketResponse, WSMsgType

from .encoding import decode, encode, request
from .errors import Refused, seconds
from .feed import Cut, Feed, Reply
from .liveness import Liveness
from .outgoing import Outgoing
from .stream import Stream
from .timers import Timers

__all__ = ["Connection", "Cut"]

_log = logging.getLogger("sluice.client")

_REMINDER: Final = 20.0
"""Seconds after which the service hears that a parked batch is wanted still: it keeps one for 60."""
_PATIENCE: Final = 5.0
"""Seconds for which one consumer may keep all others waiting."""


class Connection:
    """One connection; :meth:`run` reads it to its end."""

    def __init__(self, socket: "ClientWebSocketResponse[bool]") -> None:
        self.closing = False
        """Whether the service has said that it goes away."""
        self.on_closing: Callable[[str], None] = lambda reason: None
        self.retry_after: float | None = None
        """What the service asked for when it said that it goes away, in seconds."""
        self.close_reason = ""
        self._code = 0
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._over = False
        self._pending: dict[int, Callable[[Reply], None]] = {}
        self._feeds: dict[Hashable, Feed] = {}
        self._routes: dict[str, Feed] = {}
        self._full: set[Stream] = set()
        self._timers = Timers()
        self._room = asyncio.Event()
        self._outgoing = Outgoing(socket)
        self._liveness: Liveness

    def __repr__(self) -> str:
        return f"<Connection {len(self._feeds)} feeds, {len(self._pending)} answers awaited>"

    @property
    def close_code(self) -> int:
        """The close code; 1006 where the connection was cut without one (RFC 6455, section 7.1.5)."""
        return self._code or self._socket.close_code or 1006

    async def run(self) -> None:
        """Read until the connection has ended; calls that wait for an answer then get :class:`Cut`."""
        writer = asyncio.create_task(self._outgoing.run(), name="sluice client: writer")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    self._liveness = Liveness(self._timers, self._ping, lambda: self._give_up(limit))
                    self._timers.after(_REMINDER, self._remind)
                    await self._read()
        finally:
            self._over = True
            self._timers.clear()
            writer.cancel()
            pending, self._pending = self._pending, {}
            for then in pending.values():
                then(Cut())
            await asyncio.gather(writer, return_exceptions=True)
            await self._outgoing.close()
            await self._socket.close()

    async def call(self, method: str, params: bytes) -> Any:
        """Make a request and return its result; raises Refused, or Cut when the connection ends first."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def then(reply: Reply) -> None:
            if future.done():
                return
            if isinstance(reply, dict):
                future.set_result(reply)
            else:
                future.set_exception(reply)

        self._send(method, params, then)
        return await future

    def open(self, *streams: Stream) -> None:
        """Begin streams, or go on with them where they are, as soon as their consumers have room for it."""
        feeds: dict[Feed, None] = {}
        for stream in streams:
            feed = self._feed(stream)
            if feed is None:
                feed = self._feeds[stream.key] = Feed(self, stream)
            feed.add(stream)
            feeds[feed] = None
        for feed in feeds:
            feed.go_on()

    def leave(self, stream: Stream) -> None:
        """End the part of a consumer that has left in its subscription."""
        self.release(stream)
        feed = self._feed(stream)
        if feed is not None:
            feed.remove(stream)
        elif stream.fetching and stream.topic is not None:
            self.notify("cancel", batch=stream.topic.removeprefix("batch:"))

    def roomy(self, stream: Stream) -> None:
        """Read on for a stream that has room again."""
        self.release(stream)
        feed = self._feed(stream)
        if feed is not None and stream in feed.parked:
            feed.add(stream)
            feed.go_on()

    def end_topics(self, topics: list[str]) -> None:
        """End the streams of topics that new credentials do not cover."""
        for topic in topics:
            feed = self._routes.get(topic)
            if feed is not None:
                feed.end(Refused("forbidden", f"{topic}: the new token does not cover it"))

    def _feed(self, stream: Stream) -> Feed | None:
        found = self._routes.get(stream.topic) if stream.topic is not None else None
        if found is not None and found.watching == (stream.method == "watch"):
            return found
        return self._feeds.get(stream.key) or self._feeds.get(stream)

    # What feeds ask for.

    def ask(self, method: str, params: dict[str, Any], then: Callable[[Reply], None]) -> None:
        """Make a request; ``then`` is called with the reply."""
        try:
            self._send(method, encode(params), then)
        except Refused as error:
            then(error)

    def notify(self, method: str, **params: Any) -> None:
        """Make a request whose answer nobody needs."""
        self._outgoing.text(request(method, orjson.dumps(params)))

    def route(self, topic: str, feed: Feed) -> None:
        """Send the messages of a topic to a feed."""
        self._routes[topic] = feed

    def drop(self, feed: Feed) -> None:
        """Forget a feed that has no stream."""
        if self._feeds.get(feed.key) is feed:
            del self._feeds[feed.key]
        if feed.topic is not None and self._routes.get(feed.topic) is feed:
            del self._routes[feed.topic]

    def later(self, delay: float, feed: Feed) -> None:
        """Have a feed ask again after a while, unless the connection has ended."""
        self._timers.after(delay * (1 + random.random()), feed.retry)  # noqa: S311

    def release(self, stream: Stream) -> None:
        """Wait no more for a consumer to take."""
        self._full.discard(stream)
        self._room.set()

    def filled(self, stream: Stream) -> None:
        """Note that a consumer has to take before more is read."""
        self._full.add(stream)

    def _send(self, method: str, params: bytes, then: Callable[[Reply], None]) -> None:
        if self._over:
            then(Cut())
            return
        number = next(self._ids)
        self._outgoing.text(request(method, params, number))
        self._pending[number] = then
        self._room.set()

    async def _read(self) -> None:
        receive, text = self._socket.receive, WSMsgType.TEXT
        while True:
            if self._full:
                # Consumers that are only waiting for their turn of the loop are not behind.
                await asyncio.sleep(0)
            if self._full and not self._pending:
                await self._wait()
            message = await receive()
            self._liveness.heard = True
            if message.type is text:
                if not self._understood(message.data):
                    return
            elif message.type is WSMsgType.PING:
                self._outgoing.frame(message.data, WSMsgType.PONG)
            elif message.type is not WSMsgType.PONG:
                self._over_by(message)
                return

    def _over_by(self, message: Any) -> None:
        """Note why the connection ends with this frame."""
        if message.type is WSMsgType.ERROR:
            # What came is not of a WebSocket: the close code is one that aiohttp has sent, not the service's.
            self._code = 1009 if self._socket.close_code == 1009 else 1006
            self.close_reason = str(message.data)
        else:
            self.close_reason = str(message.extra or "")

    async def _wait(self) -> None:
        """Read nothing until all streams have room, somebody waits for an answer, or it takes too long."""
        self._liveness.paused = True
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._full and not self._pending:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            for stream in tuple(self._full):
                self._park(stream)
        self._liveness.paused, self._liveness.heard = False, True

    def _park(self, stream: Stream) -> None:
        self.release(stream)
        feed = self._feed(stream)
        if feed is not None and stream in feed.live:
            feed.park(stream)

    def _remind(self) -> None:
        """Have no batch cancelled for lack of a reader while its consumer takes its time."""
        for feed in self._feeds.values():
            if feed.parked and not feed.live and any(stream.fetching for stream in feed.parked):
                self.notify("subscribe", topic=feed.topic)
                self.notify("unsubscribe", topic=feed.topic)
        self._timers.after(_REMINDER, self._remind)

    def _ping(self) -> None:
        self._outgoing.frame(b"", WSMsgType.PING)

    def _give_up(self, limit: asyncio.Timeout) -> None:
        self.close_reason = "silence"
        limit.reschedule(self._loop.time())

    def _understood(self, text: bytes) -> bool:
        """Take a frame; one that is not the protocol's ends this connection, and no more than that."""
        try:
            value = decode(text)
            if value.get("method") == "message":
                params = value["params"]
                feed = self._routes.get(params["topic"])
                if feed is not None:
                    feed.message(params["offset"], params["data"], len(text))
            else:
                self._handle(value)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("a frame that is not of the protocol (%r): %.100r", error, text)
            self.close_reason = "a frame that is not of the protocol"
            return False
        return True

    def _handle(self, value: dict[str, Any]) -> None:
        match value.get("method"):
            case "gap":
                params = value["params"]
                feed = self._routes.get(params["topic"])
                if feed is not None:
                    feed.gap(params["from"], params["to"])
            case "closing":
                params = value.get("params", {})
                self.closing = True
                self.retry_after = seconds(params.get("retry_after"))
                self.on_closing(str(params.get("reason", "")))
            case None:
                self._answered(value)

    def _answered(self, value: dict[str, Any]) -> None:
        number = value.get("id")
        if number is None and "error" in value:
            # What the service could not read has no id there. Answers come in the order of the requests.
            number = next(iter(self._pending), None)
        if number not in self._pending:
            return
        reply = Refused.read(value["error"]) if "error" in value else value["result"]
        if not isinstance(reply, dict | Refused):
            raise TypeError("result: an object is expected")
        self._pending.pop(number)(reply)
