"""Reading the jobs of the database at the start, without their requests and their events.

A job whose state cannot be put right is gone, with all that it has. Where the WAL has lost its end, topics of jobs
begin new epochs, as all others do.
"""

from collections.abc import Callable

from service.core.jobs.kept import KeptJobs
from service.storage.job_rows import event_ids, read_state, write_state
from service.storage.scan import Scan
from service.storage.tables import Table

__all__ = ["recover_jobs"]


async def recover_jobs(scan: Scan, new_epoch: Callable[[], str]) -> KeptJobs:
    """Read the state of each in slices; the loop turns between them."""
    found = KeptJobs()
    rows = scan.database.rows

    def take(row: int, record: bytes) -> None:
        job = read_state(row, record)
        if scan.database.lost_commits:
            job.epoch = new_epoch()
            scan.changes.replace(Table.JOBS, row, write_state(job))
        found.add(job)

    def lost(row: int) -> bool:
        scan.discard(Table.JOB_REQUESTS, row)
        scan.changes.delete(Table.JOB_EVENTS, rows.ids(Table.JOB_EVENTS, *event_ids(row)))
        return False

    await scan.read(Table.JOBS, take, lost)
    return found
