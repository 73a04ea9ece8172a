"""Reading the jobs of the database at the start, without their requests and their events.

A job whose state cannot be put right is gone, with all that it has. Where the WAL has lost its end, topics of jobs
begin new epochs, as all others do.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from service.core.jobs.kept import KeptJobs
from service.core.jobs.summary import JobSummary
from service.storage.job_rows import event_ids, read_state, read_summary, write_state
from service.storage.records import Damaged
from service.storage.scan import Scan
from service.storage.tables import Table, disordered

__all__ = ["recover_jobs"]

_TOGETHER: Final = 4_000
"""Jobs that are read in one slice: 15 ms."""


class _Reading:
    """One pass over the table."""

    def __init__(self, scan: Scan, new_epoch: Callable[[], str]) -> None:
        self.found = KeptJobs()
        self._scan = scan
        self._new_epoch = new_epoch
        self._unread: Iterator[tuple[int, Any]] = scan.database.rows.cursor(Table.JOBS)
        self._last = -1

    def some(self) -> int:
        """Read some more jobs; return how many."""
        some: list[JobSummary] = []
        count, last, add, scan = 0, self._last, some.append, self._scan
        read = self._renewed if scan.database.lost_commits else read_summary
        for row, record in islice(self._unread, _TOGETHER):
            if row <= last:
                raise disordered(Table.JOBS)
            last = row
            count += 1
            try:
                add(read(row, record))
            except (Damaged, TypeError):
                odd = record if isinstance(record, bytes) else b""
                scan.handle(Table.JOBS, row, odd, lambda row, record: add(read(row, record)), self._lost)
        self._last = last
        self.found.add(some)
        return count

    def _renewed(self, row: int, record: bytes) -> JobSummary:
        job = read_state(row, record)
        job.epoch = self._new_epoch()
        self._scan.changes.replace(Table.JOBS, row, write_state(job))
        return job

    def _lost(self, row: int) -> bool:
        """Have the rest of a job deleted along with its state."""
        rows = self._scan.database.rows
        self._scan.discard(Table.JOB_REQUESTS, row)
        self._scan.changes.delete(Table.JOB_EVENTS, rows.ids(Table.JOB_EVENTS, *event_ids(row)))
        return False


async def recover_jobs(scan: Scan, new_epoch: Callable[[], str]) -> KeptJobs:
    """Read the states of all jobs in slices; the loop turns between them."""
    reading = _Reading(scan, new_epoch)
    await scan.read_slices(Table.JOBS, reading.some)
    return reading.found
