"""One request and its answer, over a connection that was kept or is new."""

import asyncio
import select
from collections.abc import Mapping
from typing import Final

from service.core.fetching.target import Target
from service.core.owner import Owner
from service.runtime.containment import report
from service.runtime.per_turn import PerTurn
from service.upstream.http1.codings import Decoding, codings_of, transfer_codings
from service.upstream.http1.connection import Connection
from service.upstream.http1.dialer import Dialer, DialTiming
from service.upstream.http1.errors import ServerDisconnected
from service.upstream.http1.head import Head
from service.upstream.http1.pool import ConnectionPool
from service.upstream.http1.reader import ResponseReader
from service.upstream.http1.request import Requests

__all__ = ["HttpClient", "Response"]

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_MOST_IDLE: Final = 1000
_OF_CONNECTIONS: Final = ("negotiate", "ntlm")
"""Schemes of ``Authorization`` that authenticate a connection, and not a request."""
_STEPS = 8
"""Steps of decoding in one turn of the loop, of all answers together: 64 KiB and 0.2 ms each."""
_UNASKED: Final = select.POLLIN | select.POLLRDHUP


class Response:
    """An answer whose head has come; its holder always closes or releases it."""

    _held = True
    """Whether the connection is this response's still."""
    _decoding: Decoding | None = None

    def __init__(
        self, connection: Connection, reader: ResponseReader, head: Head, pool: ConnectionPool, steps: PerTurn
    ) -> None:
        """Take what came; ``steps`` bounds the steps of decoding of all responses in one turn of the loop."""
        self.status = head.status
        self.headers = head.headers
        self.head_size = head.size
        self._head = head
        self._connection = connection
        self._reader = reader
        self._pool = pool
        self._steps = steps

    def at_once(self) -> bytes | None:
        """Return the body where all of it has come and none is coded: most bodies."""
        if self._reader.done and not self._reader.codings and "content-encoding" not in self.headers:
            return self._reader.read()
        return None

    @property
    def locations(self) -> set[str]:
        """Every ``Location`` that is not empty."""
        values = self._head.repeated.get("location") or [self.headers.get("location", "")]
        return {value for value in values if value}

    async def piece(self, owner: Owner) -> bytes:
        """Return the next piece of the body, decoded; nothing at its end. Raise ProtocolError if it breaks off.

        Owners take turns where many decode.
        """
        codings = codings_of(self.headers.get("content-encoding")) + transfer_codings(self._reader.codings)
        if not codings:
            return await self._raw()
        decoding = self._decoding = self._decoding or Decoding(codings)
        while True:
            if decoding.hungry:
                data = await self._raw()
                if not data:
                    decoding.finish()
                    return b""
                decoding.feed(data)
            await self._steps.wait(owner)
            if made := decoding.step():
                return made

    async def _raw(self) -> bytes:
        reader = self._reader
        if not reader.pieces:
            if reader.done:
                return b""
            await self._connection.more()
        return reader.read()

    def close(self) -> None:
        """Cut the connection, if it is still this response's."""
        if self._held:
            self._held = False
            self._connection.close()

    def release(self) -> None:
        """Keep the connection for the next request, if all of the answer has come."""
        if self._held:
            self._held = False
            connection = self._connection
            if not self._reader.done:
                connection.close()
            elif (keep := connection.rest()) > 0:
                self._pool.put(connection, keep)
            elif connection.unasked:
                self._pool.distrust(connection.use)


class HttpClient:
    """Sends requests; time limits are the caller's, by cancelling."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._pool = ConnectionPool(_MOST_IDLE)
        self._outbox = _Outbox(self._pool)
        self._requests = Requests()
        self._steps = PerTurn(_STEPS)

    def __repr__(self) -> str:
        return f"<HttpClient {self._pool!r}>"

    def close(self) -> None:
        """Close the connections that rest."""
        self._pool.close()

    def keeps(self, origin: str, owner: Owner) -> bool:
        """Whether a connection of an owner to an origin rests."""
        return self._pool.has((origin, owner))

    async def ask(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes | None,
        owner: Owner,
        timing: DialTiming,
    ) -> Response:
        """Return the response once its head has come; requests of one owner alone share connections.

        Raises ProtocolError, ServerDisconnected, UnwritableRequest and OSError. A kept connection that the server
        ends just as the request comes says nothing of the server: the request is made once more, at once, on a
        new one (RFC 9112, section 9.3.1).
        """
        request = self._requests.write(method, target, headers, body)
        personal = bool(headers) and _authenticates_connections(headers)
        kept = self._pool.acquire((target.origin, owner)) if not personal else None
        if kept is not None:
            timing.reused = True
            reader = ResponseReader(bodiless=method == "HEAD")
            self._outbox.send(kept, request, reader)
            try:
                head = await kept.progress()
            except ServerDisconnected as gone:
                if not gone.unsent and not (gone.silent and method in _REPEATABLE):
                    raise
            except BaseException:
                kept.close()
                raise
            else:
                # A server that gives up waiting says so, and closes: this was not about our request.
                if head.status != 408 or method not in _REPEATABLE:
                    return Response(kept, reader, head, self._pool, self._steps)
                kept.close()
            timing.reused = False
        connection = await self._dialer.dial(target, owner, timing)
        connection.personal = personal
        reader = ResponseReader(bodiless=method == "HEAD")
        connection.send(request, reader)
        try:
            head = await connection.progress()
        except BaseException:
            connection.close()
            raise
        return Response(connection, reader, head, self._pool, self._steps)


def _authenticates_connections(headers: Mapping[str, str]) -> bool:
    """Return whether a server may take all requests on a connection for the same user's (RFC 4559)."""
    return any(
        name.lower() == "authorization" and value.lstrip().lower().startswith(_OF_CONNECTIONS)
        for name, value in headers.items()
    )


class _Outbox:
    """Requests over kept connections: those of one turn of the loop are sent together, in the next.

    All answers of a turn are read before anybody asks again: by turns, each of the two steps would find the memory
    of the other in the caches of the processor. And one question to the kernel serves all requests of the turn: a
    connection to which something has come that nobody asked for, or its end, is closed, though the loop may not
    have read that yet (RFC 9112, section 9.2). A question for each would take a tenth of a small fetch.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._waiting: list[tuple[Connection, bytes, ResponseReader]] = []

    def __repr__(self) -> str:
        return f"<Outbox of {len(self._waiting)}>"

    def send(self, connection: Connection, request: bytes, reader: ResponseReader) -> None:
        """Send a request in the next turn of the loop, if its connection can be used still."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append((connection, request, reader))

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        poll = select.poll()
        for connection, _, _ in waiting:
            if not connection.lost:
                poll.register(connection.descriptor, _UNASKED)
        unasked = {descriptor for descriptor, _ in poll.poll(0)}
        for connection, request, reader in waiting:
            if connection.descriptor in unasked:
                self._refuse(connection)
            try:
                connection.send(request, reader)
            except Exception as error:
                report("a request could not be sent", error)
                connection.close()

    def _refuse(self, connection: Connection) -> None:
        connection.refuse_unasked()
        if connection.unasked:
            self._pool.distrust(connection.use)
