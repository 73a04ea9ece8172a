"""The live page: served during the run by the supervisor, which takes no part in measuring."""

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
from loadtest.report import Judgement, RunReport
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
async def watched(options: Namespace, report: RunReport, display: Display) -> AsyncIterator[None]:
    """Serve the page at ``--live-port`` while the block runs; raises CannotListen."""
    if options.live_port is None:
        yield
        return
    page = LivePage(report, options.live_host, options.threshold)
    async with listening(page.app, "live", options) as address:
        announce("live page", f"{address}/")
        display.follow(page.update)
        try:
            yield
        finally:
            where = f"The report is {options.html}." if options.html else "--html FILE keeps this page."
            page.finish(report, f"The run has ended. {where}")


class LivePage:
    """Serves the page of the latest report to at most twenty viewers.

    A frame is complete; it is made at most once per :meth:`update`, and only if a viewer is connected. A slow
    viewer gets the newest frame when it is ready, and skips those in between.
    """

    def __init__(self, report: RunReport, host: str, thresholds: Sequence[str] = ()) -> None:
        # The list itself is kept: the demo adds its own thresholds when it starts.
        self._thresholds = thresholds
        self._report = report
        self._columns = Columns(_POINTS)
        self._running = "starting"
        self._remark = ""
        self._frame: bytes | None = None
        self._page: str | None = None
        self._updated = asyncio.Event()
        self._viewers = 0
        self._host = host.lower()
        self.app = web.Application()
        self.app.router.add_get("/", self._document)
        self.app.router.add_get("/events", self._events)

    def update(self, report: RunReport, title: str) -> None:
        """Show the current state of a report; ``title`` distinguishes rounds and loads."""
        self._update(report)
        self._running = ", ".join(filter(None, (title, report.phase)))
        self._invalidate()

    def finish(self, report: RunReport, remark: str) -> None:
        """Show the whole report with its verdict; it is the last frame of every stream."""
        self._update(report)
        self._running, self._remark = "", remark
        self._invalidate()

    def _update(self, report: RunReport) -> None:
        if report is not self._report:
            self._report, self._columns = report, Columns(_POINTS)
        self._columns.extend(report)

    def _judgements(self) -> list[Judgement] | None:
        """Return how the thresholds stand; None when the report has been judged."""
        if not self._running:
            return None
        return [self._report.judgement(parse_threshold(text)) for text in self._thresholds[:_MOST_THRESHOLDS]]

    def _invalidate(self) -> None:
        self._frame = self._page = None
        updated, self._updated = self._updated, asyncio.Event()
        updated.set()

    def _newest(self) -> bytes:
        if self._frame is None:
            made = frame(
                self._report,
                self._columns,
                running=self._running,
                judgements=self._judgements(),
                remark=self._remark,
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
            # The viewer has gone, or does not read.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._viewers -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        while True:
            updated, last = self._updated, not self._running
            async with timeout(_PATIENCE):
                await response.write(self._newest())
            if last:
                return
            await updated.wait()

    def _admit(self, request: web.Request) -> None:
        """Refuse a foreign name that was made to point here (DNS rebinding); raises HTTPMisdirectedRequest."""
        if not _is_ours(request.host, self._host):
            raise web.HTTPMisdirectedRequest(text=f"{request.host!r} is not a name of this page; use its address\n")


def _is_ours(authority: str, host: str) -> bool:
    try:
        name = urlsplit(f"//{authority}").hostname or ""
        return name in ("localhost", host) or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
