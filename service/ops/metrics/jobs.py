"""The figures of jobs."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.jobs.jobs import Jobs
from service.ops.metrics.families import Counter, Gauge, gauge_by, histogram

__all__ = ["JobCollector"]


class JobCollector(Collector):
    """What jobs there are, how late they begin, and how their attempts end."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        figures = self._jobs.statistics()
        kept = Gauge("sluice_jobs", "Jobs that are kept, by kind and state.", labels=["kind", "state"])
        for (kind, state), count in figures.kept.items():
            kept.add_metric([kind, state], count)
        yield kept
        yield gauge_by("sluice_jobs_due", "Jobs that are due and have no place, by kind.", "kind", figures.due)
        ended = Counter(
            "sluice_job_attempts", "Attempts that ended, by kind and outcome.", labels=["kind", "outcome"]
        )
        for labels, count in figures.attempts.items():
            ended.add_metric(labels, count)
        yield ended
        yield histogram(
            "sluice_job_lateness_seconds", "From the time at which a job is due to its start.", figures.lateness
        )
