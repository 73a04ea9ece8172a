"""What a start finds: of each job only what is needed until something is to be done about it."""

from collections import Counter
from collections.abc import Sequence

from service.core.jobs.agenda import Agenda
from service.core.jobs.keys import JobKeys
from service.core.jobs.summary import JobState, JobSummary
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

    def add(self, jobs: Sequence[JobSummary]) -> None:
        """Add jobs that were read."""
        self.agenda.fill(jobs)
        self.keys.fill(jobs)
        held: Counter[tuple[str, float, bool]] = Counter()
        for job in jobs:
            held[job.owner] += job.held
            if job.state is JobState.RUNNING:
                (self.running if job.lease is None else self.leased).append(job.row)
        for (name, weight, shares), size in held.items():
            self.held[Owner(name, weight, shares_fetches=shares)] += size
