"""Keys of jobs: the same key of one owner makes one job, as long as that is kept."""

from service.core.jobs.job import Job
from service.core.owner import Owner

__all__ = ["JobKeys"]


class JobKeys:
    """Rows by a hash of owner and key, 100 bytes each; the caller checks the job that it finds."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<JobKeys {len(self._rows)}>"

    def get(self, owner: Owner, key: str) -> int:
        """Return the row that may be that of the key; 0 where there is none."""
        return self._rows.get(hash((str(owner), key)), 0)

    def put(self, job: Job) -> None:
        """Remember the key of a job, if it has one."""
        if job.key is not None:
            self._rows[_hash(job)] = job.row

    def forget(self, job: Job) -> None:
        """Forget the key of a job that is gone."""
        if job.key is not None and self._rows.get(_hash(job)) == job.row:
            del self._rows[_hash(job)]


def _hash(job: Job) -> int:
    return hash((job.owner[0], job.key))
