"""Runs an application on the HTTP server, from the first request to the last."""

from collections import Counter
from typing import Any, Final

from aiohttp import web

from service.edge.http.idle_cuts import IdleCuts
from service.edge.http.server import HttpServer

__all__ = ["HttpRunner"]

_SHUTDOWN: Final = 2.0
"""Seconds that requests have at the end."""


class HttpRunner:
    """Runs an application on an :class:`HttpServer`, from :meth:`start` to :meth:`close`.

    Every error is a problem document (RFC 9457). The arguments are those of the server.
    """

    def __init__(
        self, application: web.Application, broken: Counter[str], idle_cuts: IdleCuts | None, **options: Any
    ) -> None:
        self._runner = web.AppRunner(application, access_log=None)
        self._options = {"broken": broken, "idle_cuts": idle_cuts, "access_log": None, **options}
        self._server: HttpServer | None = None

    async def start(self) -> HttpServer:
        """Start the application and return its server, to which connections have to be given."""
        await self._runner.setup()
        made = self._runner.server
        if made is None:
            raise RuntimeError("aiohttp made no server")
        self._server = HttpServer(made.request_handler, request_factory=made.request_factory, **self._options)
        return self._server

    def close_unused(self) -> int:
        """Close connections on which no request is under way; return how many."""
        return self._server.close_unused() if self._server is not None else 0

    async def close(self) -> None:
        """End what is still connected, and the application."""
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(_SHUTDOWN)
        await self._runner.cleanup()
