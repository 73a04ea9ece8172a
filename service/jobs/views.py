"""A job as its clients see it."""

from typing import Any

from service.core.jobs.job import Job, JobState
from service.runtime.timestamps import timestamp

__all__ = ["accepted", "viewed"]


def accepted(job: Job, now: float) -> dict[str, Any]:
    """Return the answer to who has made a job; ``now`` is the time since 1970."""
    return {
        "job": job.id,
        "topic": f"job:{job.id}",
        "epoch": job.epoch,
        "state": job.shown_state(now),
        "due": timestamp(job.due),
    }


def viewed(job: Job, now: float, *, whole: bool = True) -> dict[str, Any]:
    """Return the document of a job; ``result`` or ``error`` and ``detail`` are there once it has ended so.

    One that is not ``whole`` is without its result and output.
    """
    view = {
        **accepted(job, now),
        "kind": job.kind,
        "run": job.run,
        "attempts": job.attempt,
        "created": timestamp(job.created),
        "ended": None if job.ended is None else timestamp(job.ended),
    }
    if job.key is not None:
        view["key"] = job.key
    if job.stopping and not job.state.ended:
        view["stopping"] = True
    if job.state is JobState.DONE and whole:
        view["result"] = job.result
    if job.state is JobState.FAILED:
        view |= {"error": job.error, "detail": job.detail}
    if job.output is not None and whole:
        view["output"] = job.output
    return view
