"""Databases of older formats, as they are after a start."""

import os
from pathlib import Path

import apsw
import msgspec

from service.core.jobs.job import Job
from service.storage.database import Database
from service.storage.job_rows import read_request, read_state
from service.storage.records import write_json
from service.storage.tables import VERSION, Table
from tests.core.jobs.jobs import new_job
from tests.storage.stored import damage, new_database

JOBS, REQUESTS = Table.JOBS, Table.JOB_REQUESTS


def third_format(folder: Path, *jobs: Job) -> Path:
    """Make a database of format 3 with these jobs; each has one event of 96 bytes."""
    new_database(folder).close()
    path = folder / "sluice.db"
    connection = apsw.Connection(os.fspath(path))
    connection.execute("DROP TABLE job_requests")
    for job in jobs:
        document = msgspec.json.decode(msgspec.json.encode(job))
        document.pop("size", None)
        whole = write_json(job.row, msgspec.json.encode(document))
        connection.execute("INSERT INTO jobs VALUES (?, ?)", (job.row, whole))
        number = (job.row << 20) + 1
        connection.execute("INSERT INTO job_events VALUES (?, ?)", (number, write_json(number, b"x" * 96)))
    connection.pragma("user_version", 3)
    connection.close()
    return path


def a_job(row: int) -> Job:
    """Return one with a request."""
    work, grant = msgspec.Raw(b'{"topic":"t","data":%d}' % row), msgspec.Raw(b'{"publish":["*"]}')
    return new_job(row, head=1, work=work, grant=grant, key="k", digest="d")


def test_requests_of_jobs_have_a_table_of_their_own(tmp_path: Path) -> None:
    path = third_format(tmp_path, a_job(1), a_job(2))
    database = Database(path)
    for row in (1, 2):
        job, asked = a_job(row), read_request(row, database.rows.get(REQUESTS, row) or b"")
        assert (asked.work, asked.grant) == (job.work, job.grant)
        nothing = msgspec.Raw(b"null")
        state = msgspec.structs.replace(job, work=nothing, grant=nothing, size=len(bytes(job.work)) + 100)
        assert read_state(row, database.rows.get(JOBS, row) or b"") == state
    database.close()
    connection = apsw.Connection(os.fspath(path))
    assert connection.pragma("user_version") == VERSION
    connection.close()


def test_one_flipped_bit_costs_nothing_and_more_is_left_to_the_start(tmp_path: Path) -> None:
    path = third_format(tmp_path, a_job(1), a_job(2), a_job(3), a_job(4))
    damage(path, JOBS, 1, -3)
    damage(path, JOBS, 2, 6)
    damage(path, JOBS, 2, 9)
    connection = apsw.Connection(os.fspath(path))
    connection.execute("UPDATE jobs SET id = 12 WHERE id = 4")  # one bit of the id
    connection.close()
    database = Database(path)
    assert [row for row, _ in database.rows.all(JOBS)] == [1, 2, 3, 4]
    assert [row for row, _ in database.rows.all(REQUESTS)] == [1, 3, 4]
    assert read_state(4, database.rows.get(JOBS, 4) or b"").row == 4
    database.close()
