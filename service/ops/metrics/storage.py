"""The figures of the data directory."""

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.ops.metrics.families import Counter, Gauge, histogram
from service.storage.statistics import StorageStatistics

__all__ = ["StorageCollector"]


class StorageCollector(Collector):
    """What is stored, how long that takes, and what was found at the start; nothing without ``--data``."""

    def __init__(self, statistics: Callable[[], StorageStatistics | None]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        figures = self._statistics()
        if figures is None:
            return
        yield histogram(
            "sluice_storage_commit_seconds", "From the beginning of a commit to its end.", figures.durations
        )
        yield Counter("sluice_storage_commits", "Commits.", figures.commits)
        yield Counter("sluice_storage_failures", "Commits that failed; none of them was stored.", figures.failures)
        yield Gauge("sluice_storage_waiting", "Changes that wait for the next commit.", figures.waiting)
        yield Gauge("sluice_storage_bytes", "Bytes of the data directory.", figures.size)
        yield Gauge("sluice_storage_topics", "Topics that are kept.", figures.topics)
        yield Gauge("sluice_storage_damaged", "Records that were damaged at the start.", figures.damaged)
        yield Gauge(
            "sluice_storage_recovery_seconds", "What reading the directory took at the start.", figures.recovery
        )
