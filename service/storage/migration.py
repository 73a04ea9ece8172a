"""What an older format lacks, made in one transaction at the start.

Formats 1 and 2 have fewer tables. In format 3 the request of a job was in the row of its state.
"""

from typing import Final

import apsw

from service.storage.job_rows import event_ids, read_state, write_request, write_state
from service.storage.records import Damaged, Mended, mend
from service.storage.tables import APPLICATION, VERSION, Rows, Table

__all__ = ["migrate"]

_WHOLE_JOBS: Final = 3


def migrate(connection: apsw.Connection, version: int) -> None:
    """Bring a database of this format, or an empty one, to the format of now."""
    with connection:
        for table in Table:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, record BLOB NOT NULL)")
        if version == _WHOLE_JOBS:
            _split_jobs(connection)
        connection.pragma("application_id", APPLICATION)
        connection.pragma("user_version", VERSION)


def _split_jobs(connection: apsw.Connection) -> None:
    rows = Rows(connection)
    for some in rows.chunks(Table.JOBS):
        for row, record in some:
            whole = _whole(row, record)
            if whole is not None:
                connection.execute(f"DELETE FROM {Table.JOBS} WHERE id = ?", (row,))  # noqa: S608
                _split(connection, rows, whole)


def _whole(row: int, record: bytes) -> Mended | None:
    """Return a record as it was written; None where that cannot be found out: the start reports and deletes it."""
    try:
        read_state(row, record)
    except Damaged:
        return mend(row, record)
    return Mended(row, record)


def _split(connection: apsw.Connection, rows: Rows, whole: Mended) -> None:
    job = read_state(*whole)
    job.size = len(bytes(job.work)) + rows.size(Table.JOB_EVENTS, *event_ids(whole.row))
    for table, record in ((Table.JOBS, write_state(job)), (Table.JOB_REQUESTS, write_request(job))):
        insert = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608
        connection.execute(insert, (whole.row, record))
