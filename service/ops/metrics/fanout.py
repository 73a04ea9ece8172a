"""The figures of clients, topics and deliveries."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.core.topics.hub import Hub
from service.edge.access.middleware import AccessMiddleware
from service.edge.routes.streams import Streams
from service.edge.websocket.endpoint import WebSockets
from service.ops.metrics.families import Counter, Gauge, counter_by, histogram

__all__ = ["FanoutCollector"]

_ALWAYS: Final = (
    ("handshake", "overloaded"), ("http", "overloaded"), ("http", "limit"), ("http", "internal"),
    ("request", "overloaded"), ("request", "limit"),
)  # fmt: skip
"""What alarms ask for: there from the start, as 0."""


class FanoutCollector(Collector):
    """Who is here, what they say, what they get, and what happens to those that fall behind."""

    def __init__(
        self,
        hub: Hub,
        sockets: WebSockets,
        pipelines: WebSockets,
        streams: Streams,
        access: AccessMiddleware,
        broken: Mapping[str, int],
    ) -> None:
        self._broken = broken
        self._hub = hub
        self._sockets = sockets
        self._pipelines = pipelines
        self._streams = streams
        self._access = access

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        yield from self._clients()
        yield from self._topics()
        yield from self._laggards()

    def _clients(self) -> Iterator[Metric]:
        sockets, traffic = self._sockets, self._sockets.traffic
        yield Gauge("sluice_connections", "WebSocket connections.", sockets.count)
        yield Counter("sluice_upgrades", "WebSocket connections ever made.", traffic.made)
        yield counter_by(
            "sluice_closes", "WebSocket connections that the service ended, by close code.", "code",
            {str(code): count for code, count in (traffic.closed + self._pipelines.traffic.closed).items()},
        )  # fmt: skip
        yield Gauge("sluice_streams", "SSE and NDJSON responses under way.", len(self._streams.readers))
        yield Gauge("sluice_requests", "HTTP requests under way, streams among them.", self._access.slots.used)
        refusals = Counter(
            "sluice_refusals", "Refusals, by where (handshake, http, request) and reason.", labels=["at", "reason"]
        )
        counts = self._access.refusals
        for where, reason in sorted({*counts, *_ALWAYS}):
            refusals.add_metric([where, reason], counts[where, reason])
        yield refusals
        yield Counter("sluice_messages_received", "WebSocket messages from clients.", traffic.received)
        yield Counter("sluice_answers", "WebSocket messages that answer one from a client.", traffic.answered)

    def _topics(self) -> Iterator[Metric]:
        hub, latency = self._hub.statistics(), self._hub.latency
        yield Gauge("sluice_topics", "Topics that exist.", hub.topics)
        yield Gauge("sluice_readers", "Cursors in topics.", hub.readers)
        yield Gauge("sluice_ring_bytes", "Bytes that rings keep.", hub.ring_bytes)
        yield Gauge("sluice_batch_bytes", "Bytes of events that batches keep.", hub.log_bytes)
        yield Counter("sluice_rings_shrunk", "Rings that kept their newest alone: memory was short.", hub.shrunk)
        yield Counter("sluice_messages_published", "Messages appended to topics.", hub.published)
        yield Counter("sluice_deliveries", "Messages that readers have taken, one for each reader.", hub.delivered)
        yield histogram(
            "sluice_delivery_seconds",
            "From publish to write, for each delivery to a WebSocket that keeps up.",
            latency.delivery,
        )
        yield histogram(
            "sluice_visit_spread_seconds", "From the first to the last reader of a visit.", latency.spread
        )

    def _laggards(self) -> Iterator[Metric]:
        lags, stalled = self._hub.lags, self._sockets.stalled
        causes = ("drop_oldest", "latest", "resume")
        yield Gauge("sluice_stalled_connections", "WebSockets whose client is behind.", len(stalled))
        yield Gauge("sluice_backlog_bytes", "Bytes that wait in transports for stalled WebSockets.", stalled.held)
        yield counter_by(
            "sluice_gaps",
            "Gaps that readers met, by policy (resume: gone before the reader attached).",
            "on_lag",
            lags.gaps,
            causes,
        )
        yield counter_by("sluice_messages_missed", "Messages in those gaps.", "on_lag", lags.missed, causes)
        evicted = {
            "lag": lags.evicted,
            "dropped": lags.dropped,
            "backlogs": stalled.cut,
            "silent": self._sockets.heartbeat.cut + self._pipelines.heartbeat.cut,
        }
        yield counter_by(
            "sluice_evictions", "Readers and connections ended by the service, by reason.", "reason", evicted
        )
        yield counter_by(
            "sluice_broken", "Connections that the network or their peer broke, by reason.", "reason",
            dict.fromkeys(("unacknowledged", "reset", "unreachable", "other"), 0) | dict(self._broken),
        )  # fmt: skip
