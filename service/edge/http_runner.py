"""aiohttp's runner, with one difference: what is no HTTP is refused with a problem document too.

Such a request never becomes one: aiohttp's protocol answers it in plain text, before any middleware, and
logs a traceback for each. The protocol's ``handle_error`` is public, the way to it is not; aiohttp's version
is capped, and a test says when the way has changed.
"""

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.edge.problems import unreadable

__all__ = ["HttpRunner"]


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


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class HttpRunner(web.AppRunner):
    """Runs an application, every error of which is a problem document (RFC 9457)."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
