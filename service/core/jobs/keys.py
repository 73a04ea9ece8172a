"""Keys of jobs: the same key of one owner makes one job, as long as that is kept."""

from array import array
from collections.abc import Iterable
from typing import Final

from service.core.jobs.summary import JobSummary
from service.core.owner import Owner

__all__ = ["JobKeys"]


_BUCKET: Final = 14
_ROW: Final = 40
"""Bits of a hash that choose the bucket, and bits of a row; 24 more of the hash are above the row."""
_IN_BUCKET: Final = (1 << _BUCKET) - 1
_ROWS: Final = (1 << _ROW) - 1
_REST: Final = (1 << 24) - 1


class JobKeys:
    """Rows by a part of the hash of owner and key, in buckets that are searched: 10 bytes each of many."""

    def __init__(self) -> None:
        self._buckets: dict[int, array[int]] = {}

    def __repr__(self) -> str:
        return f"<JobKeys {sum(map(len, self._buckets.values()))}>"

    def rows(self, owner: Owner, key: str) -> list[int]:
        """Return the rows that may be that of the key, the newest first; the caller has to look at the jobs."""
        place, mark = _place(str(owner), key)
        return [item & _ROWS for item in reversed(self._buckets.get(place, ())) if item >> _ROW == mark]

    def put(self, job: JobSummary) -> None:
        """Remember the key of a job, if it has one; once for each job."""
        self.fill((job,))

    def fill(self, jobs: Iterable[JobSummary]) -> None:
        """Remember the keys of many jobs."""
        buckets = self._buckets
        for job in jobs:
            if job.key is None:
                continue
            place, mark = _place(job.owner[0], job.key)
            bucket = buckets.get(place)
            if bucket is None:
                bucket = buckets[place] = array("Q")
            bucket.append(mark << _ROW | job.row)

    def forget(self, job: JobSummary) -> None:
        """Forget the key of a job that is gone."""
        if job.key is not None:
            place, mark = _place(job.owner[0], job.key)
            bucket = self._buckets[place]
            bucket.remove(mark << _ROW | job.row)
            if not bucket:
                del self._buckets[place]


def _place(owner: str, key: str) -> tuple[int, int]:
    value = hash((owner, key))
    return value & _IN_BUCKET, value >> _BUCKET & _REST
