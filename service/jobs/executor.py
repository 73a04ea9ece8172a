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
        """What makes an effect elsewhere happen once: the same for every attempt of a run."""
        return self.job.effect_key


class Executor(Protocol):
    """Carries out jobs of one kind, at most ``places`` at once; the caller enforces that, and their time limits.

    All of it is called on the loop's thread. ``check`` belongs to the request that makes a job: it does not wait,
    and has no effect. The others get a job whose work has passed it, maybe long ago and with other settings. Each
    attempt is carried out in a task of its own, which is cancelled when its time is over, its client cancels it,
    or the service ends. One that has succeeded may be made again if the service was killed before the outcome was
    stored: ``attempt.key``, which all attempts of a run share, is what makes an effect happen once.
    """

    worker: str
    """Who it is, for the event ``started``."""
    places: int

    def check(self, work: Work, grant: Grant) -> object:
        """Return the part of the grant to keep with the job, as values that JSON can represent.

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
        """Return the result as JSON; raise AttemptFailed, AttemptLost, or a SluiceError, which may be temporary.

        Anything else that it raises is a bug, and counts as a failure after which another attempt may succeed.
        Where it is cancelled it raises CancelledError within seconds, and none of its work goes on, except for
        what a later attempt with the same key continues.
        """
        ...


class ServiceExecutor:
    """What executors have in common that carry jobs out in the service: the request alone sets their limits."""

    worker = "service"

    def retries(self, job: Job) -> None:
        """Leave it to the request."""

    def time(self, job: Job) -> None:
        """Leave it to the request."""
