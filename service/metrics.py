"""What the service tells Prometheus at ``/metrics``: read when it is asked for, and kept nowhere else."""

import os
from collections.abc import Iterable, Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from service import __version__
from service.core.hub import Hub
from service.edge.gate import Gate
from service.edge.websocket import WebSockets
from service.pressure import Pressure
from service.process import descriptors, resident, sockets
from service.statistics import Statistics
from service.upstream.batches import Batches
from service.upstream.cache import Cache
from service.upstream.runner import Runner
from service.upstream.watches import Watches

__all__ = ["MetricsRoutes"]

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsRoutes(Collector):
    """The route, and the figures of all parts under the names that Prometheus has for their kinds."""

    def __init__(
        self,
        *,
        hub: Hub,
        sockets: WebSockets,
        runner: Runner,
        batches: Batches,
        watches: Watches,
        cache: Cache,
        statistics: Statistics,
        gate: Gate,
        pressure: Pressure,
    ) -> None:
        self._hub = hub
        self._sockets = sockets
        self._runner = runner
        self._batches = batches
        self._watches = watches
        self._cache = cache
        self._statistics = statistics
        self._gate = gate
        self._pressure = pressure
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/metrics", self.metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all figures in Prometheus' text format."""
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": _TYPE, "Cache-Control": "no-store"})

    def collect(self) -> Iterable[Metric]:
        """Return every figure of now."""
        yield InfoMetricFamily("sluice_build", "The version that runs.", {"version": __version__})
        yield from self._fanout()
        yield from self._fetching()
        yield from self._load()
        yield from self._process()

    def _fanout(self) -> Iterator[Metric]:
        hub = self._hub.statistics()
        yield Gauge("sluice_connections", "WebSocket connections.", self._sockets.count)
        yield Counter("sluice_upgrades", "WebSocket connections ever made.", self._sockets.made)
        yield Gauge("sluice_topics", "Topics that exist.", hub.topics)
        yield Gauge("sluice_readers", "Cursors in topics.", hub.readers)
        yield Gauge("sluice_ring_bytes", "Bytes that rings keep.", hub.ring_bytes)
        yield Gauge("sluice_batch_bytes", "Bytes of events that batches keep.", hub.log_bytes)
        yield Counter("sluice_messages_published", "Messages appended to topics.", hub.published)
        yield Counter("sluice_deliveries", "Messages that readers have taken, one for each reader.", hub.delivered)
        yield Counter("sluice_rings_shrunk", "Rings that kept their newest alone: memory was short.", hub.shrunk)
        yield Gauge("sluice_stalled_connections", "WebSockets whose client is behind.", self._sockets.stalled)

    def _fetching(self) -> Iterator[Metric]:
        batches, watches = self._batches.statistics(), self._watches.statistics()
        cache, runner = self._cache.statistics(), self._runner.statistics()
        yield Gauge("sluice_batches_running", "Batches that are not done.", batches.running)
        yield Gauge("sluice_batches_retained", "Batches that are done and kept.", batches.retained)
        outcomes = Counter("sluice_urls", "URLs of batches that ended.", labels=["outcome"])
        outcomes.add_metric(["ok"], batches.ok)
        for kind, count in sorted(batches.failures.items()):
            outcomes.add_metric([kind], count)
        yield outcomes
        yield Gauge("sluice_fetches_active", "Requests to upstreams under way.", runner.active)
        yield Counter("sluice_fetches", "Requests made to upstreams, retries among them.", runner.attempts)
        yield Counter("sluice_fetches_joined", "URLs that joined a request under way.", runner.joined)
        yield Gauge("sluice_hosts_troubled", "Hosts that get less than their limit, or nothing.", runner.troubled)
        yield Counter("sluice_cache_hits", "URLs answered from the cache alone.", cache.hits)
        yield Counter("sluice_cache_validated", "Answers that a 304 made new again.", cache.validated)
        yield Gauge("sluice_cache_bytes", "Bytes that the cache keeps.", cache.bytes)
        yield Gauge("sluice_watched_urls", "URLs that are polled.", watches.urls)
        yield Counter("sluice_polls", "Polls of watched URLs.", watches.polls)
        yield Counter("sluice_changes", "Changes told to watchers.", watches.changes)

    def _load(self) -> Iterator[Metric]:
        level = "What is done about overload: 0 nothing, 1 fetches slowed, 2 connections refused, 3 readers shed."
        yield Gauge("sluice_overload_level", level, self._pressure.level)
        yield Counter("sluice_shed", "Readers that were cut because of overload.", self._pressure.shed)
        refused = Counter("sluice_refused", "Handshakes and requests refused at the gate.", labels=["reason"])
        for reason in ("limit", "overloaded", "rate"):
            refused.add_metric([reason], self._gate.refused[reason])
        yield refused

    def _process(self) -> Iterator[Metric]:
        yield Gauge("sluice_loop_lag_seconds", "How late the loop was at the last second.", self._statistics.lag)
        yield Gauge("process_resident_memory_bytes", "Resident memory.", resident())
        yield Gauge("process_open_fds", "Open descriptors.", descriptors())
        yield Gauge("sluice_kernel_socket_bytes", "Kernel memory of all TCP sockets of the machine.", sockets())
        times = os.times()
        yield Counter("process_cpu_seconds", "CPU time.", times.user + times.system)
