"""A job as its clients see it."""

from typing import TypeVar

from msgspec import UNSET, UnsetType

from service.core.jobs.answers import JobAccepted, JobView
from service.core.jobs.job import Job
from service.core.jobs.summary import JobState
from service.runtime.timestamps import timestamp

__all__ = ["accepted", "viewed"]

T = TypeVar("T")


def accepted(job: Job, now: float) -> JobAccepted:
    """Return the answer to the client that made a job; ``now`` is the time since 1970."""
    return JobAccepted(job.id, f"job:{job.id}", job.epoch, job.shown_state(now), timestamp(job.due))


def viewed(job: Job, now: float, *, whole: bool = True) -> JobView:
    """Return the document of a job; ``result`` or ``error`` and ``detail`` are there once it has ended so.

    One that is not ``whole`` is without its result and output.
    """
    done, failed = job.state is JobState.DONE, job.state is JobState.FAILED
    return JobView(
        job.id,
        f"job:{job.id}",
        job.epoch,
        job.shown_state(now),
        timestamp(job.due),
        kind=job.kind,
        run=job.run,
        attempts=job.attempt,
        created=timestamp(job.created),
        ended=None if job.ended is None else timestamp(job.ended),
        key=_given(job.key),
        stopping=_given(True, shown=job.stopping and not job.state.ended),
        result=_given(job.result, shown=done and whole),
        error=_given(job.error, shown=failed),
        detail=_given(job.detail, shown=failed),
        output=_given(job.output, shown=whole),
    )


def _given(value: T | None, *, shown: bool = True) -> T | UnsetType:
    """Return a value that is there and is to be shown, and nothing otherwise."""
    return value if shown and value is not None else UNSET
