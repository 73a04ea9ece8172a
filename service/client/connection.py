"""One WebSocket of the client, from its upgrade to its end: requests out, answers and messages in.

Theory of operation. Whatever is asked has a continuation, which runs as soon as the answer is read and before
the next frame is looked at: messages follow the answer that they belong to. A stream whose consumer does not
take is *full*; while one is, nothing is read, so that the service sees a slow reader and does by it what
``on_lag`` says. But other streams, calls (the consumer's own, too) and signs of life come over the same socket.
So after a while, or at once where somebody waits for an answer, a stream without room is *parked*: it is
unsubscribed, and goes on from its position when its consumer has caught up.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Final

import orjson
from aiohttp import ClientWebSocketResponse, WSMsgType

from service.client.errors import Refused
from service.client.outgoing import Outgoing
from service.client.stream import Stream

__all__ = ["Connection", "Cut"]

_SILENCE: Final = 30.0
"""Seconds without a frame after which the service is asked for a sign of life, and after as many more given up."""
_REMINDER: Final = 20.0
"""Seconds after which the service is told that a parked batch is wanted still: it keeps one for 60."""
_PATIENCE: Final = 5.0
"""Seconds for which one consumer may keep all others waiting."""


class Cut(Exception):
    """The connection ended before the answer came; the next connection asks again."""


Answer = dict[str, Any] | Refused | Cut


class Connection:
    """One connection; :meth:`run` reads it to its end."""

    def __init__(self, socket: "ClientWebSocketResponse[bool]") -> None:
        self.retry_after: float | None = None
        """What the service asked for when it said that it goes away, in seconds."""
        self.close_reason = ""
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._ids = count(1)
        self._over = False
        self._pending: dict[int, Callable[[Answer], None]] = {}
        self._live: dict[str, Stream] = {}
        self._full: set[Stream] = set()
        self._parked: set[Stream] = set()
        self._room = asyncio.Event()
        self._outgoing = Outgoing(socket)
        self._waiting = False
        self._heard = True
        self._asked = False
        self._looking: asyncio.TimerHandle

    def __repr__(self) -> str:
        return f"<Connection {len(self._live)} streams, {len(self._pending)} answers awaited>"

    @property
    def close_code(self) -> int:
        """The close code; 1006 where the connection was cut without one (RFC 6455, section 7.1.5)."""
        return self._socket.close_code or 1006

    async def run(self) -> None:
        """Read until the connection has ended; whoever waits for an answer then gets :class:`Cut`."""
        writer = asyncio.create_task(self._outgoing.run(), name="sluice client: writer")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    self._looking = self._loop.call_later(_SILENCE, self._look, limit)
                    await self._read()
        finally:
            self._over = True
            self._looking.cancel()
            writer.cancel()
            pending, self._pending = self._pending, {}
            for then in pending.values():
                then(Cut())
            await asyncio.gather(writer, return_exceptions=True)
            await self._outgoing.close()
            await self._socket.close()

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Make a request and return its result; raises Refused, or Cut when the connection ends first."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def then(answer: Answer) -> None:
            if future.done():
                return
            if isinstance(answer, dict):
                future.set_result(answer)
            else:
                future.set_exception(answer)

        self._ask(method, params, then)
        return await future

    def open(self, stream: Stream) -> None:
        """Begin a stream, or go on with it where it is, as soon as its consumer has room for it."""
        if stream.full:
            self._set_aside(stream)
            return
        self._ask(*stream.request(), partial(self._opened, stream))

    def leave(self, stream: Stream) -> None:
        """End a subscription whose consumer has left."""
        self._release(stream)
        topic = stream.topic
        if topic is None:
            return
        if self._live.get(topic) is stream:
            self._unsubscribe(topic)
        if stream.fetching:
            self._tell("cancel", batch=topic.removeprefix("batch:"))

    def roomy(self, stream: Stream) -> None:
        """Read on for a stream that has room again."""
        parked = stream in self._parked
        self._release(stream)
        if parked:
            self.open(stream)

    def _release(self, stream: Stream) -> None:
        self._full.discard(stream)
        self._parked.discard(stream)
        self._room.set()

    def _unsubscribe(self, topic: str) -> None:
        del self._live[topic]
        self._tell("unsubscribe", topic=topic)

    def _tell(self, method: str, **params: Any) -> None:
        """Make a request whose answer nobody needs."""
        self._outgoing.request({"jsonrpc": "2.0", "method": method, "params": params})

    def _ask(self, method: str, params: dict[str, Any], then: Callable[[Answer], None]) -> None:
        if self._over:
            then(Cut())
            return
        request_id = next(self._ids)
        self._outgoing.request({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        self._pending[request_id] = then
        self._room.set()

    async def _read(self) -> None:
        while True:
            if self._full:
                # Consumers that are only waiting for their turn of the loop are not behind.
                await asyncio.sleep(0)
            if self._full and not self._pending:
                await self._wait()
            message = await self._socket.receive()
            self._heard = True
            if message.type is WSMsgType.TEXT:
                self._take(message.data)
            elif message.type is WSMsgType.PING:
                self._outgoing.frame(message.data, WSMsgType.PONG)
            elif message.type is not WSMsgType.PONG:
                self.close_reason = str(message.extra or "")
                return

    async def _wait(self) -> None:
        """Read nothing until all streams have room, somebody waits for an answer, or it takes too long."""
        self._waiting = True
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._full and not self._pending:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            for stream in tuple(self._full):
                self._park(stream)
        self._waiting = False

    def _park(self, stream: Stream) -> None:
        self._full.discard(stream)
        assert stream.topic is not None
        self._unsubscribe(stream.topic)
        self._set_aside(stream)

    def _set_aside(self, stream: Stream) -> None:
        self._parked.add(stream)
        if stream.fetching:
            self._loop.call_later(_REMINDER, self._remind, stream)

    def _remind(self, stream: Stream) -> None:
        """Have a batch not cancelled for want of a reader while its consumer takes its time."""
        if not self._over and stream in self._parked:
            self._tell("subscribe", topic=stream.topic)
            self._tell("unsubscribe", topic=stream.topic)
            self._loop.call_later(_REMINDER, self._remind, stream)

    def _look(self, limit: asyncio.Timeout) -> None:
        """Notice a peer that has vanished without a word; a silence of our own making is none."""
        if not self._heard and not self._waiting:
            if self._asked:
                limit.reschedule(self._loop.time())
                return
            self._outgoing.frame(b"", WSMsgType.PING)
            self._asked = True
        else:
            self._asked = False
        self._heard = False
        self._looking = self._loop.call_later(_SILENCE, self._look, limit)

    def _take(self, text: bytes) -> None:
        value = orjson.loads(text)
        params = value.get("params")
        match value.get("method"):
            case "message":
                self._message(params["topic"], params["offset"], params["data"], len(text))
            case "gap":
                stream = self._stream(params["topic"])
                if stream is not None:
                    stream.gap(params["from"], params["to"])
            case "closing":
                self.retry_after = params.get("retry_after")
            case None:
                self._answered(value)

    def _answered(self, value: dict[str, Any]) -> None:
        then = self._pending.pop(value.get("id", 0), None)
        if then is not None:
            then(Refused.read(value["error"]) if "error" in value else value["result"])

    def _stream(self, topic: str) -> Stream | None:
        """Return the topic's stream if it has room; otherwise it is parked, and told again what comes now."""
        stream = self._live.get(topic)
        if stream is None or not stream.full:
            return stream
        self._park(stream)
        return None

    def _message(self, topic: str, offset: int, data: Any, size: int) -> None:
        stream = self._stream(topic)
        if stream is None:
            return
        stream.message(offset, data, size)
        if stream.over:
            del self._live[topic]
        elif stream.full:
            self._full.add(stream)

    def _opened(self, stream: Stream, answer: Answer) -> None:
        if isinstance(answer, Cut):
            return
        if isinstance(answer, Refused):
            self._refused(stream, answer)
            return
        self._live[answer["topic"]] = stream
        stream.start(answer)
        if stream.left:
            self._unsubscribe(answer["topic"])

    def _refused(self, stream: Stream, error: Refused) -> None:
        """End a stream that is refused for good; one that had begun waits for what passes."""
        if error.reason == "draining":
            return
        if error.temporary and stream.cursor.position is not None:
            self._loop.call_later(error.retry_after or 1.0, self._reopen, stream)
        else:
            stream.end(error)

    def _reopen(self, stream: Stream) -> None:
        if not self._over and not stream.left:
            self.open(stream)
