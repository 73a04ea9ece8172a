"""The route ``/metrics``."""

from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

__all__ = ["MetricsRoutes"]

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsRoutes:
    """Answers with the figures of all collectors, and of the process as Prometheus' client reads them."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/metrics", self.metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all figures in Prometheus' text format."""
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": _TYPE, "Cache-Control": "no-store"})
