"""The bounds of jobs, and a snapshot of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.core.histogram import Histogram
from service.core.jobs.job import JobState
from service.core.jobs.request import Kind

__all__ = ["JobLimits", "JobStatistics"]


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Bounds in bytes: of one job, and of all that are kept."""

    job_size: int = 1 << 20
    jobs_size: int = 1 << 30


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """Jobs by kind and state, jobs that are due and wait for a place, and totals since the start."""

    kept: dict[tuple[Kind, JobState], int]
    due: Mapping[str, int]
    attempts: dict[tuple[Kind, str], int]
    lateness: Histogram
