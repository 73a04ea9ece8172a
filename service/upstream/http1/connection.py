"""One connection: it carries one request and one answer at a time.

    state    | send    | part    | head    | last     | wrong  | end    | rest   | close
    ---------|---------|---------|---------|----------|--------|--------|--------|-------
    IDLE     | WAITING | CLOSED  | CLOSED  | CLOSED   | CLOSED | CLOSED | IDLE   | CLOSED
    WAITING  | refused | WAITING | READING | ANSWERED | CLOSED | CLOSED | CLOSED | CLOSED
    READING  | refused | READING |         | ANSWERED | CLOSED | CLOSED | CLOSED | CLOSED
    ANSWERED | refused | CLOSED  | CLOSED  | CLOSED   | CLOSED | CLOSED | IDLE   | CLOSED
    CLOSED   | CLOSED  |         |         |          |        | CLOSED | CLOSED | CLOSED

*Part*, *head*, *last* and *wrong* are bytes that come: a part of the head or body, a whole head, the rest of the
answer, and what cannot belong to an answer. *End*: the server ends the connection, or it breaks. *Rest*: the caller
has the answer, or gives it up; where the answer says that the connection cannot be kept, it is closed.

Bytes that come while nothing was asked close it: such bytes would be read as the answer to the next request
(RFC 9112, section 9.2).
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, cast

from service.core.owner import Owner
from service.runtime.direct_writes import write_now
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.http1.errors import ProtocolError, ServerDisconnected
from service.upstream.http1.head import Head
from service.upstream.http1.reader import ResponseReader

__all__ = ["Connection", "ConnectionState", "Use"]

_HIGH: Final = 64 << 10
"""Bytes of a body that wait to be taken; beyond that the socket is not read. A loop reads up to 256 KiB at once."""

_GIVES_UP: Final = (b"HTTP/1.1 408", b"HTTP/1.0 408")
"""What proxies send before they end a connection that was idle for long."""


Use = tuple[str, Owner]
"""What a connection is for: an origin, and requests of one owner."""


class ConnectionState(Enum):
    """What a connection waits for."""

    IDLE = auto()
    WAITING = auto()
    """For the head of an answer."""
    READING = auto()
    """The body of it."""
    ANSWERED = auto()
    """The caller may not have read all of the body yet."""
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """Not made by hand: see ``dialer.py``. The caller takes the answer, and closes it or lets it rest."""

    __slots__ = (
        "_answers", "_behind", "_buffered", "_error", "_loop", "_paused", "_reader", "_tls", "_transport",
        "_waiter", "descriptor", "idle_until", "lost", "on_lost", "personal", "unasked", "use",
    )  # fmt: skip

    def __init__(self, use: Use, sock: socket.socket, answers: AnswerTurns) -> None:
        self.use = use
        self.idle_until = 0.0
        self.lost = False
        """Closed, or about to be."""
        self.personal = False
        """Whether a request on it has authenticated the connection itself, so that no other may use it."""
        self.unasked = False
        """Whether bytes have come that nobody asked for, other than the 408 that ends an idle connection."""
        self.on_lost: Callable[[Connection], object] | None = None
        """Called when it is lost while it rests."""
        self.descriptor = sock.fileno()
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._waiter: asyncio.Future[Head] | None = None
        self._error: ProtocolError | ServerDisconnected | None = None
        self._paused = False
        self._buffered = False
        """Whether some of the request was left to the transport to send."""
        self._behind = False
        """Whether what has come is still to be read, in another turn of the loop."""
        self._tls: ssl.SSLObject | None = None

    def __repr__(self) -> str:
        return f"<Connection to {self.use[0]}, {self.state.name.lower()}>"

    @property
    def state(self) -> ConnectionState:
        """What it waits for."""
        reader = self._reader
        if self.lost:
            return ConnectionState.CLOSED
        if reader is None:
            return ConnectionState.IDLE
        if reader.done:
            return ConnectionState.ANSWERED
        return ConnectionState.WAITING if reader.head is None else ConnectionState.READING

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        """Read on, or end for what nobody asked for."""
        reader = self._reader
        if reader is None or reader.done:
            self._note_unasked(data)
            self.close()
            return
        self._feed(reader, data)

    def eof_received(self) -> bool:
        """Read to the end: the server sends no more."""
        self._end(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the transport, which is gone."""
        self._end(error)
        self._transport = None

    # Called by the caller that asks.

    def send(self, request: bytes, reader: ResponseReader) -> None:
        """Send a request; :meth:`progress` reports its outcome. RuntimeError while it carries another."""
        transport = self._transport
        if transport is None or self.lost:
            self._fail(ServerDisconnected(silent=True, unsent=True))
            return
        if self._reader is not None:
            raise RuntimeError(f"{self!r} carries another request")
        self._reader = reader
        # At rest nothing waits to be written: see rest().
        direct = self._tls is None and not transport.is_closing()
        rest = write_now(self.descriptor, request) if direct else request
        self._buffered = bool(rest)
        if rest:
            transport.write(rest)

    def progress(self) -> "asyncio.Future[Head]":
        """Return a future that is done as soon as the head of the answer, or more of the body, has come.

        It raises the error that ends the answer. A caller that stops waiting for a head closes the connection.
        """
        if self._error is not None:
            # A new one: the traceback of the kept one would hold frames, and they hold this connection. Only the
            # collector would free such a cycle, with all that has come.
            raise self._error.again()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def more(self) -> None:
        """Wait for more of the body; return where it has ended, too."""
        reader = self._reader
        assert reader is not None
        if self._paused and not self._behind and reader.size <= _HIGH:
            self._resume()
        while not reader.pieces and not reader.done:
            await self.progress()

    def rest(self) -> float:
        """Forget the answer; return for how many seconds the connection can be kept, or close it and return 0."""
        reader, self._reader = self._reader, None
        transport = self._transport
        if reader is not None and reader.surplus:
            self.unasked = True
        if self.lost or reader is None or transport is None:
            return 0.0
        keep = reader.keep
        if keep <= 0 or self.personal or self._paused or (self._buffered and transport.get_write_buffer_size()):
            self.close()
            return 0.0
        return keep

    def refuse_unasked(self) -> None:
        """Close it because its socket has bytes that no request asked for, or the end of the stream."""
        if self._tls is None:
            with suppress(OSError):
                self._note_unasked(os.read(self.descriptor, len(_GIVES_UP[0])))
        self.close()

    def close(self) -> None:
        """Cut it."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
        if self._reader is None and self.on_lost is not None:
            self.on_lost(self)

    def _note_unasked(self, data: bytes) -> None:
        if data and not data.startswith(_GIVES_UP):
            self.unasked = True

    def _wake(self, reader: ResponseReader) -> None:
        """Report progress: nobody waits for a part of a head."""
        waiter = self._waiter
        if waiter is not None and reader.head is not None:
            self._waiter = None
            self._answers.wake(self.use[1], waiter, reader.head)

    def _fail(self, error: ProtocolError | ServerDisconnected) -> None:
        if self._error is None:
            self._error = error.with_traceback(None)
        self.close()
        if self._reader is not None:
            # A head that came before the error is an answer: the error is that of its body.
            self._wake(self._reader)
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._answers.wake(self.use[1], waiter, self._error.again())

    def _feed(self, reader: ResponseReader, data: bytes) -> None:
        try:
            self._behind = reader.feed(data)
        except ProtocolError as error:
            self._fail(error)
            return
        if self._behind:
            self._pause()
            self._loop.call_soon(self._go_on)
        elif reader.size > _HIGH and not reader.done:
            self._pause()
        elif self._paused:
            self._resume()
        self._wake(reader)

    def _go_on(self) -> None:
        """Read what was left for this turn of the loop."""
        if self._reader is not None and self._behind:
            self._feed(self._reader, b"")

    def _end(self, error: Exception | None) -> None:
        reader = self._reader
        if reader is not None and self._error is None:
            whole = error is None and self._closed_properly()
            try:
                reader.end(whole=whole, why=_why(error, whole=whole))
            except (ProtocolError, ServerDisconnected) as failure:
                self._fail(failure)
                return
        self.close()
        if reader is not None:
            self._wake(reader)

    def _closed_properly(self) -> bool:
        """Return whether TLS was ended by the server, and not by somebody on the way (RFC 9112, 9.8)."""
        if self._tls is None:
            return True
        try:
            return not self._tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, ValueError):
            return False

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self.lost:
            self._transport.resume_reading()
        self._paused = False


def _why(error: Exception | None, *, whole: bool) -> str:
    if error is not None:
        return "the connection broke"
    return "the server closed the connection" if whole else "TLS ended without the server's close_notify"
