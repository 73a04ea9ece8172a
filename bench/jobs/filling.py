"""Data directories that have many jobs already, made without the service: a million of them take it minutes."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from service.core.jobs.events import Instant, QueuedEvent
from service.core.jobs.job import Job
from service.jobs.times import encode_event
from service.storage.database import Database, RowChanges, Sync
from service.storage.job_rows import event_row, write_request, write_state
from service.storage.records import write_json
from service.storage.tables import Table

__all__ = ["fill", "scheduled"]

_GROUP: Final = 5_000


def scheduled(row: int, due: float, now: float, *, topic: str, data: object, key: str | None = None) -> Job:
    """Return a job that publishes, as an anonymous client of this machine makes it."""
    work = msgspec.Raw(msgspec.json.encode({"topic": topic, "data": data}))
    owner = ("127.0.0.1", 1.0, True)
    job = Job(
        id=f"{row:x}-{row:032x}", row=row, epoch=f"{row:016x}", owner=owner, kind="publish", work=work, created=now,
        due=due, keep=86_400.0, key=key, digest="0" * 64,
    )  # fmt: skip
    job.accept()
    return job


def fill(folder: Path, jobs: Iterator[Job]) -> None:
    """Put jobs into a data directory, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(folder / "sluice.db", Sync.NORMAL)
    try:
        while some := list(islice(jobs, _GROUP)):
            changes = RowChanges(database.next_row)
            for job in some:
                _put(changes, job)
            database.write(changes)
    finally:
        database.close()


def _put(changes: RowChanges, job: Job) -> None:
    event = encode_event(QueuedEvent(Instant(job.due)))
    job.size = len(bytes(job.work)) + len(event)
    changes.replace(Table.JOBS, job.row, write_state(job))
    changes.replace(Table.JOB_REQUESTS, job.row, write_request(job))
    number = event_row(job.row, 1)
    changes.replace(Table.JOB_EVENTS, number, write_json(number, event))
