"""The bounds of jobs."""

from dataclasses import dataclass

__all__ = ["JobLimits"]


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Bounds in bytes: of one job, and of all that are kept."""

    job_size: int = 1 << 20
    jobs_size: int = 1 << 30
