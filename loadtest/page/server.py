"""The page while the run goes on: served by the supervisor, which measures nothing, and made for those who look."""

import asyncio
import ipaddress
from argparse import Namespace
from asyncio import timeout
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from loadtest.listening import announce, listening
from loadtest.live import Display
from loadtest.page.columns import Columns
from loadtest.page.document import frame, render
from loadtest.report import Judgement, Report
from loadtest.thresholds import parse_threshold

__all__ = ["LivePage", "watched"]

_MOST_VIEWERS = 20
_MOST_THRESHOLDS = 20
"""Thresholds that are shown while the run goes on."""
_POINTS = 600
"""Points of a line that is sent once a second."""
_PATIENCE = 10.0
"""Seconds that one viewer may take for one frame."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@asynccontextmanager
async def watched(options: Namespace, report: Report, display: Display) -> AsyncIterator[None]:
    """Serve the page at ``--live-port`` while the block runs; raises CannotListen."""
    if options.live_port is None:
        yield
        return
    page = LivePage(report, options.live_host, options.threshold)
    async with listening(page.app, "live", options) as address:
        announce("live page", f"{address}/")
        display.follow(page.tell)
        try:
            yield
        finally:
            where = f"The report is {options.html}." if options.html else "--html FILE keeps this page."
            page.end(report, f"The run has ended. {where}")


class LivePage:
    """Shows the report that it was told of last, to at most twenty viewers.

    A frame has everything, is made at most once for each :meth:`tell`, and only when somebody is there to take it.
    A viewer that is slow has the newest when it is ready, and none of those that it missed.
    """

    def __init__(self, report: Report, host: str, thresholds: Sequence[str] = ()) -> None:
        # Read anew for each frame: a scenario may add some of its own when it begins.
        self._thresholds = thresholds
        self._report = report
        self._columns = Columns(_POINTS)
        self._running = "starting"
        self._said = ""
        self._frame: bytes | None = None
        self._page: str | None = None
        self._told = asyncio.Event()
        self._viewers = 0
        self._host = host.lower()
        self.app = web.Application()
        self.app.router.add_get("/", self._document)
        self.app.router.add_get("/events", self._events)

    def tell(self, report: Report, title: str) -> None:
        """Show how a report is now; ``title`` says which of several it is."""
        self._take(report)
        self._running = ", ".join(filter(None, (title, report.phase)))
        self._turn()

    def end(self, report: Report, said: str) -> None:
        """Show the whole with its verdict, which open pages keep: their streams end with it."""
        self._take(report)
        self._running, self._said = "", said
        self._turn()

    def _take(self, report: Report) -> None:
        if report is not self._report:
            self._report, self._columns = report, Columns(_POINTS)
        self._columns.take(report)

    def _judgements(self) -> list[Judgement] | None:
        """Return how the thresholds stand; None when the report has been judged."""
        if not self._running:
            return None
        return [self._report.judgement(parse_threshold(text)) for text in self._thresholds[:_MOST_THRESHOLDS]]

    def _turn(self) -> None:
        self._frame = self._page = None
        told, self._told = self._told, asyncio.Event()
        told.set()

    def _newest(self) -> bytes:
        if self._frame is None:
            made = frame(
                self._report, self._columns, running=self._running, judgements=self._judgements(), said=self._said
            )
            self._frame = b"data: " + orjson.dumps(made) + b"\n\n"
        return self._frame

    async def _document(self, request: web.Request) -> web.Response:
        self._admit(request)
        if self._page is None:
            self._page = render(self._report, running=self._running, judgements=self._judgements())
        return web.Response(text=self._page, content_type="text/html", headers=_HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._admit(request)
        if self._viewers >= _MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_VIEWERS} pages are open already; close one")
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        self._viewers += 1
        try:
            await response.prepare(request)
            await self._stream(response)
        except (TimeoutError, ConnectionError):
            # It is gone, or does not read: the others do not wait for it.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._viewers -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        while True:
            told, last = self._told, not self._running
            async with timeout(_PATIENCE):
                await response.write(self._newest())
            if last:
                return
            await told.wait()

    def _admit(self, request: web.Request) -> None:
        """Refuse what a foreign site sends here under a name of its own; raises HTTPMisdirectedRequest."""
        name = urlsplit(f"//{request.host}").hostname or ""
        if name in ("localhost", self._host) or _is_address(name):
            return
        raise web.HTTPMisdirectedRequest(text=f"{name!r} is not a name of this page; use its address\n")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
