"""The figures of fetches: batches, watches, upstreams and the cache."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.ops.metrics.families import Counter, Gauge, counter_by, histogram_by
from service.sources.batches import Batches
from service.sources.watches import Watches
from service.upstream.caching.cache import Cache
from service.upstream.runner import Runner

__all__ = ["FetchingCollector"]


class FetchingCollector(Collector):
    """What is asked of upstreams, how they answer, and how long they take."""

    def __init__(self, runner: Runner, batches: Batches, watches: Watches, cache: Cache) -> None:
        self._runner = runner
        self._batches = batches
        self._watches = watches
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        yield from self._wanted()
        yield from self._asked()
        yield from self._kept()

    def _wanted(self) -> Iterator[Metric]:
        batches, watches = self._batches.statistics(), self._watches.statistics()
        yield Gauge("sluice_batches_running", "Batches that are not done.", batches.running)
        yield Gauge("sluice_batches_retained", "Batches that are done and kept.", batches.retained)
        yield Gauge("sluice_batches_waiting", "Batches that wait for memory.", batches.waiting)
        yield Counter("sluice_batches_outgrown", "Batches whose URLs failed for lack of memory.", batches.outgrown)
        yield Counter("sluice_batch_events_given_up", "Events that made room for later ones.", batches.given_up)
        yield Counter("sluice_batch_events_spilled", "Events that left memory, and are on disk.", batches.spilled)
        yield counter_by(
            "sluice_urls", "URLs of batches that ended, by outcome: ok or a kind of failure.", "outcome",
            {"ok": batches.ok, **batches.failures},
        )  # fmt: skip
        yield Gauge("sluice_watched_urls", "URLs that are polled.", watches.urls)
        yield Gauge(
            "sluice_idle_watches", "Topics of watched URLs that wait for somebody who watches again.", watches.idle
        )
        yield Counter("sluice_polls", "Polls of watched URLs.", watches.polls)
        yield Counter("sluice_changes", "Changes sent to watchers.", watches.changes)

    def _asked(self) -> Iterator[Metric]:
        runner, metrics = self._runner.statistics(), self._runner.metrics
        yield Gauge("sluice_fetches_active", "Requests to upstreams under way.", runner.active)
        yield counter_by(
            "sluice_fetches", "Requests to upstreams that ended, by outcome: class of status or kind of failure.",
            "outcome", metrics.outcomes, ("2xx", "3xx", "4xx", "5xx", "connect", "timeout"),
        )  # fmt: skip
        yield Counter("sluice_fetches_joined", "URLs that joined a request under way.", runner.joined)
        yield histogram_by(
            "sluice_fetch_seconds", "What a request to an upstream took, by phase.", "phase", metrics.phases
        )
        yield counter_by(
            "sluice_overdue", "URLs that waited beyond their deadline (a bug in sluice), by what they waited for.",
            "wait", runner.overdue,
        )  # fmt: skip
        yield Gauge("sluice_hosts_throttled", "Hosts that get less than their limit, or nothing.", runner.throttled)

    def _kept(self) -> Iterator[Metric]:
        cache = self._cache.statistics()
        yield Counter("sluice_cache_hits", "URLs answered from the cache alone.", cache.hits)
        yield Counter("sluice_cache_validated", "Answers that a 304 made new again.", cache.validated)
        yield Counter("sluice_cache_stored", "Answers that were kept.", cache.stored)
        yield Counter("sluice_cache_evicted", "Answers that made room for others.", cache.evicted)
        yield Gauge("sluice_cache_entries", "Answers that the cache keeps.", cache.entries)
        yield Gauge("sluice_cache_bytes", "Bytes that the cache keeps.", cache.bytes)
