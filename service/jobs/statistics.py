"""A snapshot of jobs: what there is now, and totals since the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.histogram import Histogram
from service.core.jobs.agenda import Agenda
from service.core.jobs.request import Kind
from service.core.jobs.summary import JobState
from service.jobs.outcomes import AttemptOutcomes
from service.jobs.remote_attempts import RemoteAttempts
from service.jobs.schedule import JobSchedule

__all__ = ["JobStatistics", "RemoteStatistics", "statistics_of"]


@dataclass(frozen=True, slots=True)
class RemoteStatistics:
    """Attempts that workers elsewhere make."""

    offered: int = 0
    running: int = 0
    away: bool = False
    """Whether the broker took nothing the last time."""
    offers: Mapping[str, int] = field(default_factory=dict)
    """By whether it was the first one or one made again, or could not be made."""
    claims: Mapping[str, int] = field(default_factory=dict)
    """By whether they were granted or refused."""
    lost: int = 0
    """Leases that ran out."""


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """Jobs by kind and state, jobs that are due and wait for a place, and totals since the start."""

    kept: dict[tuple[Kind, JobState], int]
    due: Mapping[str, int]
    attempts: dict[tuple[Kind, str], int]
    lateness: Histogram
    running: int
    """Attempts that are made here."""
    remote: RemoteStatistics


def statistics_of(
    agenda: Agenda, schedule: JobSchedule, outcomes: AttemptOutcomes, remote: RemoteAttempts | None
) -> JobStatistics:
    """Return a snapshot of the jobs of these."""
    due = {str(kind): lane.due for kind, lane in schedule.lanes.items()}
    elsewhere = RemoteStatistics() if remote is None else _of_workers(remote)
    return JobStatistics(
        dict(agenda.counts),
        due,
        dict(outcomes.ended),
        outcomes.lateness,
        schedule.running - elsewhere.offered,
        elsewhere,
    )


def _of_workers(remote: RemoteAttempts) -> RemoteStatistics:
    offers = {**remote.offers.made, "failed": remote.dispatch.failures}
    return RemoteStatistics(
        len(remote.offers), remote.running, remote.dispatch.away, offers, dict(remote.claims), remote.lost
    )
