"""The port of the job store: each job with its events, by its row number."""

from collections.abc import Sequence
from typing import Protocol

from service.core.errors import NotFound
from service.core.jobs.job import Job
from service.core.jobs.kept import KeptJobs
from service.core.pending import Pending

__all__ = ["JobStore", "MemoryJobs"]


class JobStore(Protocol):
    """Where jobs are kept. An answer is a value where it is known at once, else a ``Pending``.

    What is put is there whole or not at all, with its events, when the answer has come; an error is a SluiceError,
    and then nothing has changed. Answers about one job come in the order of the calls.
    """

    durable: bool
    """Whether jobs outlive the process."""

    last_row: int
    """The number of the newest job."""

    def new_row(self) -> int:
        """Return a number that no job has had."""
        ...

    def put(self, job: Job, events: Sequence[bytes]) -> Pending[Job] | None:
        """Store a job and its newest events, the last of which has the offset ``job.head``.

        Its work and grant are stored with its first event: they never change.
        """
        ...

    def get(self, row: int) -> Job | Pending[Job]:
        """Return a job; the error is NotFound where there is none."""
        ...

    def read(self, row: int, after: int) -> Pending[Sequence[bytes | None]]:
        """Return some of the events that follow an offset, at least one; None stands for one that is damaged."""
        ...

    def drop(self, row: int, head: int) -> None:
        """Forget a job with its events, up to this offset."""
        ...

    def kept(self) -> KeptJobs:
        """Return what is known of all jobs at the start; it is the caller's from then on."""
        ...


class MemoryJobs:
    """The store of a service that keeps nothing on disk."""

    durable = False

    def __init__(self) -> None:
        self.last_row = 0
        self._jobs: dict[int, Job] = {}
        self._events: dict[int, list[bytes]] = {}

    def __repr__(self) -> str:
        return f"<MemoryJobs {len(self._jobs)}>"

    def new_row(self) -> int:
        """Return the next number."""
        self.last_row += 1
        return self.last_row

    def put(self, job: Job, events: Sequence[bytes]) -> None:
        """Keep it at once."""
        self._jobs[job.row] = job
        self._events.setdefault(job.row, []).extend(events)

    def get(self, row: int) -> Job:
        """Return a job, or raise NotFound."""
        job = self._jobs.get(row)
        if job is None:
            raise NotFound("the job does not exist or has expired")
        return job

    def read(self, row: int, after: int) -> Pending[Sequence[bytes | None]]:
        """Return all events that follow."""
        answer: Pending[Sequence[bytes | None]] = Pending()
        events = self._events.get(row, [])[after:]
        answer.settle(events or NotFound("the job does not exist or has expired"))
        return answer

    def drop(self, row: int, head: int) -> None:
        """Forget it."""
        self._jobs.pop(row, None)
        self._events.pop(row, None)

    def kept(self) -> KeptJobs:
        """Return nothing: a start begins without jobs."""
        return KeptJobs()
