"""The port of an executor, which carries out jobs of one kind."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from service.core.access.grants import Grant
from service.core.jobs.events import ProgressEvent
from service.core.jobs.job import Job
from service.core.jobs.request import Work

__all__ = ["AttemptFailed", "AttemptLost", "Executor", "JobAttempt", "ServiceExecutor"]


class AttemptFailed(Exception):
    """An attempt that failed: ``error`` is its kind, ``again`` whether another one may succeed."""

    def __init__(self, error: str, detail: str, *, again: bool = True, after: float | None = None) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.again = again
        self.after = after
        """Seconds after which that is, where somebody has said so."""


class AttemptLost(Exception):
    """The outcome of the attempt is unknown: its worker is gone."""


class JobAttempt:
    """One attempt of a job, for what carries it out."""

    def __init__(self, job: Job, report: Callable[[ProgressEvent], Awaitable[None]]) -> None:
        self.job = job
        self.output: str | None = None
        """What was printed meanwhile, of a kind that prints."""
        self.report = report
        """Returns when the progress is stored, and everybody who reads the job hears of it."""

    def __repr__(self) -> str:
        return f"<JobAttempt {self.job.attempt} of {self.job!r}>"

    @property
    def key(self) -> str:
        """What makes an effect happen once: the same for every attempt of a run, and for no other job."""
        return self.job.effect_key


class Executor(Protocol):
    """Carries out jobs of one kind, at most ``places`` at once."""

    worker: str
    """Who it is, for the event ``started``."""
    places: int

    def check(self, work: Work, grant: Grant) -> object:
        """Return the part of the grant to keep with the job, as values of JSON.

        Raises a SluiceError for work that can never succeed, or is not granted.
        """
        ...

    def retries(self, job: Job) -> int | None:
        """Return how often a job may fail and be tried again, where it says so itself; None for the usual."""
        ...

    def time(self, job: Job) -> float | None:
        """Return the seconds that an attempt may take, where the work says so itself."""
        ...

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        """Return the result as JSON; raise AttemptFailed or AttemptLost.

        Where it is cancelled it ends soon, and its work with it.
        """
        ...


class ServiceExecutor:
    """What executors have in common that carry jobs out in the service: the request alone sets their limits."""

    worker = "service"

    def retries(self, job: Job) -> None:
        """Leave it to the request."""

    def time(self, job: Job) -> None:
        """Leave it to the request."""
