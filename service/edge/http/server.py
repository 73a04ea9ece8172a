"""aiohttp's runner, with one difference: malformed HTTP is answered with a problem document too.

Such a request never becomes one: aiohttp's protocol answers it in plain text, before any middleware, and
logs a traceback for each. The protocol's ``handle_error`` is public, the way to it is not; aiohttp's version
is capped, and a test says when the way has changed.
"""

import errno
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.edge.http.idle_connections import close_unused
from service.edge.http.idle_cuts import IdleCuts, silence_of
from service.edge.http.problems import unreadable

__all__ = ["HttpRunner", "HttpServer"]


class _Protocol(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what could not be read; a failure of ours goes aiohttp's way, with its log."""
        if isinstance(exc, ConnectionResetError):
            # The client left before its answer could be written, in an upgrade, say: not an error of ours.
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


class HttpServer(web.Server):
    """Makes the protocols of connections, and counts those that are open."""

    broken: Counter[str]
    """Connections that the network or their peer broke, by reason."""
    idle_cuts: IdleCuts
    on_lost: Callable[[], None] | None = None
    """Called whenever one has ended."""

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Protocol(self, loop=self._loop, **self._kwargs)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection, when the task that handles it has ended."""
        self._note_silence(handler)
        super().connection_lost(handler, exc)
        if isinstance(exc, OSError):
            self.broken[_REASONS.get(exc.errno or 0, "other")] += 1
        if handler._task_handler is not None:
            handler._task_handler.add_done_callback(lambda _: self._lost())
        else:
            self._lost()

    def _note_silence(self, handler: RequestHandler) -> None:
        """Note the silence before the end of a WebSocket or a stream; others end as their clients like."""
        if handler.transport is None or handler._current_request is None:
            return
        silence = silence_of(handler.transport.get_extra_info("socket"))
        if silence is not None:
            self.idle_cuts.note(silence)

    def _lost(self) -> None:
        if self.on_lost is not None:
            self.on_lost()


class HttpRunner(web.AppRunner):
    """Runs an application, every error of which is a problem document (RFC 9457)."""

    broken: Counter[str]
    """Where broken connections are counted, by reason."""
    idle_cuts: IdleCuts
    """Where it is noted after which silence they are cut."""

    def close_unused(self) -> int:
        """Close connections on which no request is under way; return how many."""
        return close_unused(self.server) if self.server is not None else 0

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = HttpServer(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        server.broken = self.broken
        server.idle_cuts = self.idle_cuts
        return server
