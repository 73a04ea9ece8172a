"""The client: one connection at a time, made again whenever it has ended, and everything that goes over it."""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

import orjson

from service.client.backoff import CLOSE_CODES, Advice, Backoff
from service.client.connection import Connection, Cut
from service.client.errors import ClientClosed, ClientError, Disconnected, Refused, Unanswered
from service.client.stream import Stream, Value
from service.client.subscription import Batch, Event, Subscription, as_event
from service.client.transport import Transport, Unreachable
from service.client.values import OnLag, Position, Since

__all__ = ["Client"]

_log = logging.getLogger("sluice.client")

_KEY_LIFE: Final = 110.0
"""Seconds after its first sending for which a publish is repeated: the service knows its key for 120."""
_FRAMING: Final = 256
"""Bytes of a request beside its parameters, and some."""


class Client:
    """A client of one service; use it with ``async with``.

    ``url`` is the service's address (``https://host``; its query is kept, for proxies that look at it), ``token``
    its credentials. A connection that ends is made again, after what docs/protocol.md says of its close code;
    streams go on where they were, and calls that had no answer are made again. Nothing here waits for a
    connection with a time limit of its own: ``asyncio.timeout`` around a call or an iteration is how to give up.
    Where coming back does not help, everything that waits raises Disconnected.

    ``message_size`` is what the service takes in one message, in bytes (``--message-size``).
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        backoff: Backoff | None = None,
        message_size: int = 64 << 10,
    ) -> None:
        self._transport = Transport(url, token)
        self._backoff = backoff or Backoff()
        self._message_size = message_size
        self._streams: dict[Stream, None] = {}
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._error: ClientError | None = ClientClosed("the client is not open: use it with async with")
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "connected" if self._connection else "not connected"
        return f"<Client {self._transport!r} {state}, {len(self._streams)} streams>"

    async def __aenter__(self) -> "Client":
        self._transport.open()
        self._error = None
        self._task = asyncio.create_task(self._run(), name="sluice client")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every stream and call with ClientClosed, and the connection; calling it again is harmless."""
        self._end(ClientClosed("the client was closed"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._transport.close()

    def subscribe(self, topic: str, *, since: Since = "newest", on_lag: OnLag | None = None) -> Subscription[Value]:
        """Read a topic: an iterable of Message, Gap and Restart that ends only when it is left.

        Raises, while iterating, Refused (``forbidden``, ``already_subscribed``, ``limit``, …). ``on_lag`` says what
        the service does by a consumer that is so slow that messages are dropped before it takes them; with
        ``disconnect`` the connection is cut, made again, and the stream goes on with a Gap.
        """
        params = {"topic": topic} if on_lag is None else {"topic": topic, "on_lag": on_lag}
        return Subscription(self, Stream("subscribe", params, since), lambda value: value)

    def watch(
        self, url: str, *, every: float, select: str | None = None, on_lag: OnLag | None = None
    ) -> Subscription[Event]:
        """Watch a URL: an iterable of its events, the last known state first.

        ``every`` is in seconds, ``select`` a JSON Pointer or a CSS selector. What the stream says of itself
        comes as events ``gap`` and ``start``, in the shape that they have in NDJSON.
        """
        given = {"url": url, "every": every, "select": select, "on_lag": on_lag}
        params = {name: value for name, value in given.items() if value is not None}
        return Subscription(self, Stream("watch", params, None), as_event)

    def fetch(self, urls: Iterable[str | Mapping[str, Any]], **options: Any) -> Batch:
        """Fetch URLs (or requests ``{"url", "method"?, "headers"?, "body"?}``) as one batch.

        An iterable of its events as they come: ``result`` or ``failed`` for each, then ``done``. The options are
        docs/protocol.md's. A batch that is left early is cancelled. One that does not fit a message goes by POST,
        and then runs to its end when this program is gone. Raises, while iterating, Refused: ``not_found`` where
        the service began anew in the middle of the batch.
        """
        items = [item if isinstance(item, str) else dict(item) for item in urls]
        what = "urls" if all(isinstance(item, str) for item in items) else "requests"
        if what == "requests":
            items = [{"url": item} if isinstance(item, str) else item for item in items]
        params: dict[str, Any] = {what: items}
        if options:
            params["options"] = options
        body = orjson.dumps(params)
        if len(body) + _FRAMING <= self._message_size:
            return Batch(self, Stream("fetch", params, None), as_event)
        return Batch(self, Stream("fetch", {}, "oldest"), as_event, body)

    async def publish(self, topic: str, data: Any, *, key: str | None = None, once: bool = True) -> Position:
        """Append a JSON value to a topic and return its position.

        Where the answer is lost it is published again with the same ``key`` (one is made up where none is given),
        so that it happens once. The service remembers a bounded number of keys; ``once=False`` does without one,
        and raises Unanswered where the answer is lost. Raises Refused (``rate``, ``overloaded``, ``forbidden``, …).
        """
        params = {"topic": topic, "data": data}
        if once:
            params["key"] = key or secrets.token_urlsafe(12)
        if len(orjson.dumps(params)) + _FRAMING > self._message_size:
            raise Refused("too_large", f"data: a message has at most {self._message_size} bytes")
        answer = await self._call("publish", params, _KEY_LIFE if once else 0.0)
        return Position(answer["epoch"], answer["offset"])

    async def presence(self, topic: str) -> int:
        """Return how many readers a topic has."""
        readers: int = (await self._call("presence", {"topic": topic}))["readers"]
        return readers

    async def cancel(self, batch: str) -> int:
        """End a batch by its id and return how many URLs had not finished; each of them gets its ``failed``."""
        cancelled: int = (await self._call("cancel", {"batch": batch}))["cancelled"]
        return cancelled

    async def authenticate(self, token: str) -> float | None:
        """Replace the credentials, now and for later connections; return when they expire, or None for never."""
        expires: float | None = (await self._call("authenticate", {"token": token}))["expires"]
        self._transport.token = token
        return expires

    async def _call(self, method: str, params: dict[str, Any], again_for: float = inf) -> dict[str, Any]:
        """Make a request, and make it again over the next connection as long as that is safe, in seconds."""
        sent: float | None = None
        while True:
            connection = await self._connected()
            now = asyncio.get_running_loop().time()
            if sent is not None and now - sent >= again_for:
                raise Unanswered(f"{method}: whether it was done is not known")
            sent = now if sent is None else sent
            try:
                answer: dict[str, Any] = await connection.call(method, params)
            except Cut:
                await self._after(connection)
            else:
                return answer

    async def _connected(self) -> Connection:
        while self._connection is None:
            if self._error is not None:
                raise self._error
            await self._change()
        return self._connection

    async def _after(self, connection: Connection) -> None:
        """Return when a connection is the current one no more."""
        while self._connection is connection:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def open_stream(self, stream: Stream, body: bytes | None) -> None:
        """Have a stream filled from now on; ``body`` is a batch that goes by POST first."""
        if body is not None:
            stream.topic = (await self._post(body))["topic"]
        if self._error is not None:
            raise self._error
        self._streams[stream] = None
        stream.on_room = self._roomy
        if self._connection is not None:
            self._connection.open(stream)

    def leave_stream(self, stream: Stream) -> None:
        """Have a stream filled no more; doing it again is harmless."""
        if stream.left:
            return
        self._streams.pop(stream, None)
        stream.left = True
        if self._connection is not None:
            self._connection.leave(stream)

    def _roomy(self, stream: Stream) -> None:
        if self._connection is not None:
            self._connection.roomy(stream)

    async def _post(self, body: bytes) -> dict[str, Any]:
        """Begin a batch that does not fit a message; the key makes its repetition harmless."""
        key = secrets.token_urlsafe(12)
        while self._error is None:
            try:
                return await self._transport.post_batch(body, key)
            except Unreachable as error:
                await asyncio.sleep(self._wait(error))
        raise self._error

    async def _run(self) -> None:
        """Keep a connection, until coming back does not help."""
        try:
            while True:
                delay = await self._once()
                await asyncio.sleep(delay)
        except Disconnected as error:
            self._end(error)
        except Exception as error:
            _log.exception("the client failed inside")
            self._end(Disconnected(1006, f"a bug of the client: {error!r}"))

    async def _once(self) -> float:
        """Make a connection, serve everything over it to its end, and return when to make the next."""
        try:
            connection = await self._transport.connect()
        except Unreachable as error:
            return self._wait(error)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        self._connection = connection
        self._changed.set()
        for stream in self._streams:
            connection.open(stream)
        try:
            await connection.run()
        finally:
            self._connection = None
            self._changed.set()
        advice = CLOSE_CODES.get(connection.close_code, Advice.NOW)
        if advice in (Advice.FIXED, Advice.RENEWED):
            raise Disconnected(connection.close_code, connection.close_reason)
        return self._backoff.delay(advice, lasted=loop.time() - begun, retry_after=connection.retry_after)

    def _wait(self, error: Unreachable) -> float:
        delay = self._backoff.delay(Advice.LATER, retry_after=error.retry_after)
        _log.warning("%r: %s; again in %.1f s", self._transport, error, delay)
        return delay

    def _end(self, error: ClientError) -> None:
        """Give everyone who waits, and who comes, the reason why there is no connection any more."""
        if self._error is None:
            self._error = error
        for stream in tuple(self._streams):
            stream.end(self._error)
        self._changed.set()
