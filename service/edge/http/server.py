"""The HTTP server: aiohttp's, with four differences.

Malformed HTTP is answered with a problem document too: by itself, aiohttp's protocol answers it in plain text,
before any middleware, and logs a traceback for each. A connection that speaks another protocol than HTTP/1 is
refused with its name. Connections that break are counted. And requests that come together, or connections that end
together, are spread over turns of the loop.
"""

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from service.core.access.callers import caller_key
from service.core.owner import SERVICE, Owner
from service.edge.http import aiohttp_internals as internals
from service.edge.http.idle_cuts import IdleCuts, silence_of
from service.edge.http.other_protocols import NOT_HTTP, OtherProtocols
from service.edge.http.problems import is_departure, unreadable
from service.runtime.containment import contain
from service.runtime.direct_writes import read_rest
from service.runtime.per_turn import PerTurn

__all__ = ["HttpServer", "owner_at", "read_for"]

_UNREAD: Final = 0.05
"""Seconds more that an idle connection has, so that the loop can read what has come."""
_READ: Final = 8
"""Connections whose bodies are read on in one turn of the loop, 256 KiB and 0.2 ms each."""
_BEGUN: Final = 4
"""Requests whose head is read in one turn of the loop, 0.15 ms each until their client is known: 500 that come
together on idle connections would make a turn of 75 ms."""
_FRAMES: Final = 64
"""WebSockets of which something is read in one turn of the loop, 30 us each until it waits to be carried out."""
_ENDED: Final = 32
"""Requests and WebSockets that end in one turn of the loop because their connections ended, 20 us each."""
_REST: Final = 256 << 10
"""Bytes that are read of a WebSocket after its end: the kernel has half as many for it at most."""
_BUFFER: Final = 64 << 10
"""Bytes of a body that wait for its request; beyond twice that it is not read on: all that loops read at once."""


class _Turns:
    """What clients of a server take turns with, over all of its connections."""

    def __init__(self, caller: Callable[[object, bytes], Owner | None]) -> None:
        self.caller = caller
        self.begin = PerTurn(_BEGUN, what="a request could not be started")
        self.frames = PerTurn(_FRAMES, what="messages could not be read")
        self.read = PerTurn(_READ, what="reading from a connection could not be resumed")
        self.end = PerTurn(_ENDED, what="a request could not be ended")


class _Protocol(RequestHandler):
    __slots__ = ("on_lost", "others", "owner", "turns", "unread")

    others: OtherProtocols
    owner: Owner
    """The owner of its present or last request; before the first, its address stands for the owner."""
    turns: _Turns
    unread: bytes
    """The beginning of a request, or frames of a WebSocket, that wait for their turn."""
    on_lost: Callable[[], object] | None
    """Of a WebSocket: what is done after the end of its connection, where the task of a request is cancelled. What
    its messages ask for has turns of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection; until its first request, its address stands for its owner."""
        super().connection_made(transport)
        self.owner = owner_at(transport.get_extra_info("peername"))

    def data_received(self, data: bytes) -> None:
        """Begin a request when it is its client's turn; bytes of a request that has begun go to it at once."""
        if self.unread:
            self._wait_with(data)
        elif self.on_lost is not None:
            if self.turns.frames.take(self.owner):
                super().data_received(data)
            else:
                self.unread = data
                self.turns.frames.call(self.owner, self._read)
        elif not internals.is_waiting(self):
            super().data_received(data)
        else:
            self.unread = data
            peer = self.transport.get_extra_info("peername") if self.transport is not None else None
            self.turns.begin.call(self.turns.caller(peer, data) or self.owner, self._begin)

    def _wait_with(self, more: bytes) -> None:
        self.unread += more
        if len(self.unread) > _BUFFER and self.transport is not None:
            self.transport.pause_reading()

    def _begin(self) -> None:
        if self.transport is not None and self.unread.startswith(NOT_HTTP):
            data, self.unread = self.unread, b""
            self.transport.write(self.others.refusal(data, self.transport.get_extra_info("peername")))
            self.transport.close()
        else:
            self._read()

    def _read(self) -> None:
        data, self.unread = self.unread, b""
        if self.transport is None:
            return
        if len(data) > _BUFFER and not self.transport.is_closing():
            self.transport.resume_reading()
        try:
            super().data_received(data)
        except BaseException:
            self.force_close()
            raise

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is under way when it is the client's turn: a thousand sockets of one client may end together."""
        if self.on_lost is not None:
            # Messages that came before the end still count; a request whose client has gone does not.
            if isinstance(exc, OSError) and self.transport is not None:
                self.unread += read_rest(self.transport, _REST)
            if self.unread:
                contain("messages could not be read", self._read)
        task, request = internals.task_of(self), internals.request_of(self)
        super().connection_lost(exc)
        if task is not None and not task.done():
            task.add_done_callback(partial(internals.forget_request, request))
            self.turns.end.call(self.owner, self.on_lost or task.cancel)
        self.on_lost = None  # breaks the circle of this and the WebSocket

    def _process_keepalive(self) -> None:
        """Close an idle connection unless its next request has come, which a late loop may not have read yet.

        A client whose connection is reset after it sent a request does not know whether that was carried out.
        """
        asyncio.get_running_loop().call_later(_UNREAD, self._close_idle)

    def _close_idle(self) -> None:
        if self.unread:
            # Until it has been read: aiohttp sets a new timer only once this one is over.
            self._process_keepalive()
        else:
            super()._process_keepalive()

    def resume_reading(self, *how: Any, **options: Any) -> None:
        """Read the next part of a request's body when it is this connection's turn."""
        if how or options or not internals.is_paused(self):
            super().resume_reading(*how, **options)
        else:
            self.turns.read.call(self.owner, self._read_on)

    def _read_on(self) -> None:
        if self.transport is not None and internals.is_paused(self):
            super().resume_reading()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what could not be read; a failure of ours goes aiohttp's way, with its log."""
        if isinstance(exc, HttpProcessingError):
            internals.forget_frames(exc)
        if is_departure(exc, self.transport):
            # Before its answer could be written, in an upgrade, say: not an error of ours.
            internals.forget_frames(exc)
            return web.Response(status=400)
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        response = unreadable(status, message)
        response.force_close()
        return response


_REASONS: Final = {
    errno.ETIMEDOUT: "unacknowledged", errno.ECONNRESET: "reset", errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable", errno.ENETUNREACH: "unreachable",
}  # fmt: skip
"""TCP_USER_TIMEOUT is ETIMEDOUT: the peer has acknowledged nothing for 20 s."""


def _is_unused(handler: RequestHandler) -> bool:
    """Return whether a connection has no request, not even one that waits for its turn."""
    return internals.is_waiting(handler) and not (isinstance(handler, _Protocol) and handler.unread)


def owner_at(peer: object) -> Owner:
    """Return whose turns a connection takes while only its address is known."""
    return _at(peer[0]) if isinstance(peer, tuple) else SERVICE


@lru_cache(maxsize=4096)
def _at(address: str) -> Owner:
    return Owner(caller_key(ip_address(address)))


def read_for(request: web.BaseRequest, owner: Owner, *, on_lost: Callable[[], object] | None = None) -> None:
    """Have later bytes of a connection read in turns of its request's owner, or at once for a WebSocket.

    A WebSocket says by ``on_lost`` what is done when its connection has ended: its task is not cancelled then.
    """
    protocol = request.protocol
    if isinstance(protocol, _Protocol):
        protocol.owner, protocol.on_lost = owner, on_lost


class HttpServer(web.Server):
    """Makes the protocols of connections, and counts those that are open.

    ``broken`` counts connections that the network or their peer broke, by reason; ``idle_cuts`` is given the
    silence before the end of WebSockets and streams; ``caller(peer, head)`` returns the client that a proxy names
    in the beginning of a request, if it does; ``options`` are those of aiohttp's protocol.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Any],
        *,
        request_factory: Callable[..., web.BaseRequest] | None = None,
        broken: Counter[str] | None = None,
        idle_cuts: IdleCuts | None = None,
        caller: Callable[[object, bytes], Owner | None] = lambda peer, head: None,
        **options: Any,
    ) -> None:
        # If the task that serves a connection cannot be found, aiohttp itself has to cancel it.
        cancel = not internals.has(internals.Feature.ENDINGS)
        super().__init__(handler, request_factory=request_factory, handler_cancellation=cancel)
        self.on_lost: Callable[[], None] | None = None
        """Called whenever a connection has ended."""
        self.others = OtherProtocols(asyncio.get_running_loop().time)
        self._broken = Counter() if broken is None else broken
        self._idle_cuts = idle_cuts
        self._options = options
        self._turns = _Turns(caller)
        self._open = 0

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        # Connections inherit SO_KEEPALIVE from their listener.
        protocol = _Protocol(
            self, loop=asyncio.get_running_loop(), read_bufsize=_BUFFER, tcp_keepalive=False, **self._options
        )
        protocol.turns, protocol.owner, protocol.unread, protocol.on_lost = self._turns, SERVICE, b"", None
        protocol.others = self.others
        return protocol

    @property
    def open(self) -> int:
        """How many connections are open; counted here, because aiohttp copies its list each time."""
        return self._open

    def close_unused(self) -> int:
        """Close connections on which no request is under way, and return how many they were.

        They were kept alive, or have never asked for anything. aiohttp closes them in time by itself; where
        descriptors or memory are short they go at once.
        """
        unused = [handler for handler in self.connections if _is_unused(handler)]
        for handler in unused:
            handler.force_close()
        return len(unused)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection."""
        super().connection_made(handler, transport)
        self._open += 1

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection, when the task that handles it has ended."""
        self._note_silence(handler)
        super().connection_lost(handler, exc)
        if isinstance(exc, OSError):
            self._broken[_REASONS.get(exc.errno or 0, "other")] += 1
        task = internals.task_of(handler)
        if task is not None:
            task.add_done_callback(lambda _: self._lost())
        else:
            self._lost()

    def _note_silence(self, handler: RequestHandler) -> None:
        """Note the silence before the end of a WebSocket or a stream; others end as their clients like."""
        if self._idle_cuts is None or handler.transport is None or not internals.is_serving(handler):
            return
        # A TLS transport has closed its socket by now.
        sock = handler.transport.get_extra_info("socket")
        silence = None if sock is None else silence_of(sock)
        if silence is not None:
            self._idle_cuts.note(silence)

    def _lost(self) -> None:
        self._open -= 1
        if self.on_lost is not None:
            self.on_lost()
