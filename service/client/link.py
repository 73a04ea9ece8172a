"""The link to the service: one connection at a time, made again whenever it has ended, and what goes over it."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final

from .backoff import CLOSE_CODES, Advice, Backoff
from .connection import Connection, Cut
from .credentials import Credentials
from .encoding import encode, expected
from .errors import ClientClosed, ClientError, Disconnected, Refused, Unanswered
from .feed import TRIES
from .renewal import Renewal
from .stream import Stream
from .transport import Transport, Unreachable, Unusable
from .values import State

__all__ = ["Link"]

_log = logging.getLogger("sluice.client")

_REFUSED_FOR: Final = 110.0
"""Seconds for which a call that is refused for now is asked again."""


class Link:
    """Keeps a connection, and has every stream and call served by the one of now."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        backoff: Backoff,
        on_state: Callable[[State], object] | None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._renewal = Renewal(credentials, self.authenticated)
        self._backoff = backoff
        self._on_state = on_state
        self._streams: dict[Stream, None] = {}
        self._posting: set[Stream] = set()
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._error: ClientError | None = ClientClosed("the client is not open: use it with async with")
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        state = "connected" if self._connection else "not connected"
        return f"{self._transport!r} {state}, {len(self._streams)} streams"

    def start(self) -> None:
        """Begin to connect."""
        self._transport.open()
        self._error = None
        self._spawn(self._run(), "sluice client")

    async def close(self) -> None:
        """End every stream and call, the connection, and all that runs for them."""
        if self._connection is not None:
            for stream in self._streams:
                self._connection.leave(stream)
        self._end(ClientClosed("the client was closed"))
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.close()

    async def call(self, method: str, body: bytes, again_for: float) -> dict[str, Any]:
        """Make a request, and make it again where it was refused for now or its connection ended.

        The latter for ``again_for`` seconds, while that is safe.
        """
        clock, tries = asyncio.get_running_loop().time, 0
        sent: float | None = None
        while tries < TRIES:
            connection = await self._connected()
            sent = clock() if sent is None else sent
            if tries and clock() - sent > again_for:
                break
            try:
                answer: dict[str, Any] = await connection.call(method, body)
            except Cut:
                tries += 1 if again_for else TRIES
                await self._after(connection)
            except Refused as error:
                if not error.temporary or error.reason == "limit" or clock() - sent > _REFUSED_FOR:
                    raise
                await asyncio.sleep((error.retry_after or 1.0) * (1 + random.random()))  # noqa: S311
            else:
                return answer
        raise Unanswered(f"{method}: the connection ended before the answer came; it may have been done or not")

    async def cancel(self, batch: str) -> int:
        """End a batch; return how many URLs had not finished."""
        return expected(await self.call("cancel", encode({"batch": batch}), inf), "cancelled", int)

    def open_stream(self, stream: Stream, body: bytes | None) -> None:
        """Have a stream filled from now on; ``body`` is a batch that goes by POST first."""
        if self._error is not None:
            stream.end(self._error)
        if stream.over:
            return
        self._streams[stream] = None
        stream.on_room = self._roomy
        if body is not None:
            self._posting.add(stream)
            self._spawn(self._post(stream, body), "sluice client: batch")
        elif self._connection is not None:
            self._connection.open(stream)

    def leave_stream(self, stream: Stream) -> None:
        """Have a stream filled no more; doing it again is harmless."""
        if stream.left:
            return
        self._streams.pop(stream, None)
        stream.leave()
        if self._connection is not None:
            self._connection.leave(stream)

    def authenticated(self, answer: dict[str, Any]) -> None:
        """Take the answer to new credentials."""
        self._renewal.changed.set()
        if self._connection is not None:
            self._connection.end_topics(answer.get("unsubscribed", []))

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

    def _roomy(self, stream: Stream) -> None:
        if self._connection is not None:
            self._connection.roomy(stream)

    async def _post(self, stream: Stream, body: bytes) -> None:
        """Begin a batch that does not fit a message; an error ends its stream."""
        try:
            await self._begin_batch(stream, body)
        except Exception as error:
            _log.exception("a batch could not be started")
            stream.end(Disconnected(1006, f"a bug of the client: {error!r}"))

    async def _begin_batch(self, stream: Stream, body: bytes) -> None:
        """Post a batch until it is taken; the key makes its repetition harmless."""
        key, backoff = secrets.token_urlsafe(12), Backoff()
        while stream.topic is None and not stream.left:
            try:
                token = await self._renewal.token()
                stream.topic = (await self._transport.post_batch(body, key, token))["topic"]
            except Unreachable as error:
                await asyncio.sleep(backoff.delay(Advice.LATER, retry_after=error.retry_after))
            except Refused as error:
                if error.reason != "unauthorized" or not self._credentials.renewable:
                    stream.end(error)
                    return
                await asyncio.sleep(backoff.delay(Advice.LATER))
            except Unusable as error:
                stream.end(Disconnected(4401, str(error)))
                return
        self._posting.discard(stream)
        if self._connection is not None:
            (self._connection.leave if stream.left else self._connection.open)(stream)

    async def _run(self) -> None:
        """Keep a connection, until coming back does not help."""
        try:
            while True:
                delay = await self._once()
                await asyncio.sleep(delay)
        except Disconnected as error:
            self._end(error)
        except Exception as error:
            _log.exception("internal error in the client")
            self._end(Disconnected(1006, f"a bug of the client: {error!r}"))

    async def _once(self) -> float:
        """Make a connection, serve everything over it to its end, and return when to make the next."""
        self._report(State("connecting"))
        try:
            token = await self._renewal.token()
            self._credentials.show(token)
            connection = await self._transport.connect(token)
        except Unreachable as error:
            return self._later(Advice.LATER, 1006, str(error), retry_after=error.retry_after)
        except Unusable as error:
            return self._hopeless(Disconnected(4401, str(error)))
        except Disconnected as error:
            return self._hopeless(error)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        connection.on_closing = lambda reason: self._report(State("closing", reason=reason))
        await self._serve(connection)
        code, reason, lasted = connection.close_code, connection.close_reason, loop.time() - begun
        advice = CLOSE_CODES.get(code, Advice.NOW)
        if advice in (Advice.FIXED, Advice.RENEWED):
            return self._hopeless(Disconnected(code, reason))
        return self._later(advice, code, reason, lasted=lasted, retry_after=connection.retry_after)

    async def _serve(self, connection: Connection) -> None:
        self._connection = connection
        self._changed.set()
        self._report(State("open"))
        renewing = asyncio.create_task(self._renewal.run(connection), name="sluice client: renewal")
        try:
            connection.open(*(stream for stream in self._streams if stream not in self._posting))
            await connection.run()
        finally:
            self._connection = None
            self._changed.set()
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    def _hopeless(self, error: Disconnected) -> float:
        """Raise what ends the client, unless there is another token to try."""
        if error.code in (401, 4401) and self._credentials.refused():
            return self._later(Advice.LATER, error.code, error.reason)
        raise error

    def _later(
        self,
        advice: Advice,
        code: int,
        reason: str,
        *,
        lasted: float = 0.0,
        retry_after: float | None = None,
    ) -> float:
        delay = self._backoff.delay(advice, lasted=lasted, retry_after=retry_after)
        if advice is Advice.LATER:
            _log.warning("%r: %s; again in %.1f s", self._transport, reason or code, delay)
        self._report(State("waiting", code, reason, delay))
        return delay

    def _report(self, state: State) -> None:
        if self._on_state is None:
            return
        try:
            self._on_state(state)
        except Exception:
            _log.exception("on_state failed")

    def _end(self, error: ClientError) -> None:
        """Give every call that waits, and every later one, the reason why the connection has ended."""
        if self._error is None:
            self._error = error
            code = error.code if isinstance(error, Disconnected) else None
            self._report(State("closed", code, str(getattr(error, "reason", error))))
        for stream in tuple(self._streams):
            stream.end(self._error)
        self._changed.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
