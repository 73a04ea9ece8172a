"""The figures of jobs."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.jobs.jobs import Jobs
from service.jobs.statistics import RemoteStatistics
from service.ops.metrics.families import Counter, Gauge, counter_by, gauge_by, histogram

__all__ = ["JobCollector"]

_OFFERS = ("first", "again", "failed")
_CLAIMS = ("granted", "refused")


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
        running = {"here": figures.running, "workers": figures.remote.running}
        yield gauge_by(
            "sluice_jobs_running", "Jobs that run, in this service or on Celery workers.", "place", running
        )
        yield from _of_workers(figures.remote)


def _of_workers(figures: RemoteStatistics) -> Iterable[Metric]:
    yield Gauge("sluice_jobs_offered", "Jobs that wait for a Celery worker to claim them.", value=figures.offered)
    yield Gauge("sluice_broker_away", "1 while the broker of Celery takes nothing, else 0.", value=figures.away)
    yield counter_by(
        "sluice_job_offers",
        "Tasks that were given to the broker: first, again, or failed.",
        "outcome",
        figures.offers,
        _OFFERS,
    )
    yield counter_by("sluice_job_claims", "Claims of Celery workers.", "outcome", figures.claims, _CLAIMS)
    yield Counter("sluice_job_leases_lost", "Attempts whose worker was not heard of.", value=figures.lost)
