"""The route ``/metrics``."""

from collections.abc import Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.runtime.containment import report

__all__ = ["MetricsRoutes"]

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Contained(Collector):
    """A collector whose failure costs its own figures of this scrape, and not those of all."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now, or those that were read before an error."""
        metrics: list[Metric] = []
        try:
            metrics.extend(self._collector.collect())
        except Exception as error:
            report(f"figures could not be read: {type(self._collector).__name__}", error)
        return metrics


class MetricsRoutes:
    """Answers with the figures of all collectors, and of the process as Prometheus' client reads them."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(_Contained(collector))
        self._registry.register(_Contained(ProcessCollector(registry=None)))

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/metrics", self.metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all figures in Prometheus' text format."""
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": _TYPE, "Cache-Control": "no-store"})
