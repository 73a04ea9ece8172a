"""What an attempt's outcome makes of its job, wherever the attempt was made; and the figures of that."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from service.core.histogram import Histogram
from service.core.jobs.events import Event
from service.core.jobs.job import Job
from service.core.jobs.request import Kind
from service.core.jobs.summary import JobState
from service.jobs.executor import AttemptFailed

__all__ = ["DAMAGED", "AttemptOutcomes"]

DAMAGED: Final = AttemptFailed("storage", "its request is damaged on disk", again=False)
_EARLY: Final = 0.001
"""Seconds: the agenda has whole milliseconds."""
_LATENESS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)


class AttemptOutcomes:
    """Steps that end attempts; ``wall`` is the time since 1970, ``chance`` a random number from 0 to 1."""

    def __init__(self, wall: Callable[[], float], chance: Callable[[], float]) -> None:
        self.wall = wall
        self._chance = chance
        self.ended: Counter[tuple[Kind, str]] = Counter()
        """Attempts that ended, by kind and the state or the error that followed."""
        self.lateness = Histogram(_LATENESS)
        """Seconds from the time at which a job is due to its start."""

    def __repr__(self) -> str:
        return f"<AttemptOutcomes of {self.ended.total()} attempts>"

    def is_due(self, job: Job) -> bool:
        """Return whether a job may begin now."""
        return job.state is JobState.SCHEDULED and job.due <= self.wall() + _EARLY

    def count_start(self, job: Job) -> None:
        """Count a job that has begun."""
        self.lateness.observe(max(0.0, self.wall() - job.due))

    def count_end(self, job: Job) -> None:
        """Count an attempt that has ended."""
        self.ended[job.kind, "retry" if job.state is JobState.SCHEDULED else job.state] += 1

    def stopped(self, job: Job) -> Event:
        """End one that was cancelled."""
        return job.stopped(self.wall())

    def succeeded(self, result: bytes, job: Job) -> Event:
        """End one with its result."""
        # A copy, which join makes of two: what orjson returns keeps 4 KiB and more, and results are kept for a day.
        return self.stopped(job) if job.stopping else job.succeed(msgspec.Raw(b"".join((result, b""))), self.wall())

    def failed(self, retries: int | None, error: AttemptFailed, job: Job) -> Event:
        """End an attempt that failed; ``retries`` is how often the work says that it is made again."""
        if job.stopping:
            return self.stopped(job)
        return job.fail(
            error.error, error.detail, self.wall(),
            retries=job.allowed_retries(retries) if error.again else None,
            chance=self._chance(), after=error.after,
        )  # fmt: skip

    def lost(self, detail: str, job: Job) -> Event:
        """End an attempt whose outcome is unknown."""
        return self.stopped(job) if job.stopping else job.lose(detail, self.wall())
