"""What a start finds: of each job only what is needed until something is to be done about it."""

from collections import Counter

from service.core.jobs.agenda import Agenda
from service.core.jobs.job import Job, JobState
from service.core.jobs.keys import JobKeys
from service.core.owner import Owner

__all__ = ["KeptJobs"]


class KeptJobs:
    """All jobs that are kept, in a few bytes each."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.keys = JobKeys()
        self.running: list[int] = []
        """Rows of those under which the service has ended."""
        self.leased: list[int] = []
        """Rows of those that workers elsewhere make."""
        self.held: Counter[Owner] = Counter()
        """Bytes that the jobs of each owner count for."""

    def __repr__(self) -> str:
        return f"<KeptJobs {len(self.agenda)}>"

    def add(self, job: Job) -> None:
        """Take in a job; it need not have its work."""
        self.agenda.put(job)
        self.keys.put(job)
        self.held[job.belongs_to()] += job.held
        if job.state is JobState.RUNNING:
            (self.running if job.lease is None else self.leased).append(job.row)
