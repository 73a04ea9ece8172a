"""The figures of a run while it runs, for Prometheus: the text of ``--openmetrics``, as it is at that moment."""

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from loadtest.exports import openmetrics
from loadtest.listening import announce, listening
from loadtest.live import Display

__all__ = ["scraped"]

_OPENMETRICS = "application/openmetrics-text"


@asynccontextmanager
async def scraped(options: Namespace, display: Display) -> AsyncIterator[None]:
    """Answer ``GET /metrics`` at ``--metrics-port`` while the block runs; raises CannotListen."""
    if options.metrics_port is None:
        yield
        return

    async def metrics(request: web.Request) -> web.Response:
        # Prometheus asks for the newer format, people with curl for none.
        classic = _OPENMETRICS not in request.headers.get("Accept", "")
        report = display.report
        kind = "text/plain; version=0.0.4" if classic else f"{_OPENMETRICS}; version=1.0.0"
        text = report.secrets.masked(openmetrics(report, classic=classic))
        return web.Response(body=text.encode(), headers={"Content-Type": f"{kind}; charset=utf-8"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with listening(app, "metrics", options) as address:
        announce("metrics", f"{address}/metrics")
        yield
