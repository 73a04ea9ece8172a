"""Jobs on disk: a row for each, put anew with each change, and a row for each of its events.

The id of an event's row is the number of the job and the offset, so that the events of a job lie together and
nobody has to remember where. Jobs that were used last are in memory.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec

from service.core.errors import NotFound, SluiceError, StorageFailed
from service.core.jobs.job import Job
from service.core.pending import Pending
from service.storage.damage import DamageLog
from service.storage.database import Changes, Database
from service.storage.records import Damaged, mend, unseal, write_json
from service.storage.tables import Table
from service.storage.writer import Writer

__all__ = ["DiskJobs"]

_OFFSET: Final = 20
"""Bits of an offset, below the number of the job."""
_PAGE: Final = 256
"""Events that are read at once."""
_RECENT: Final = 8 << 20
"""Bytes of jobs in memory."""
_EACH: Final = 600
_GONE: Final = "the job does not exist or has expired"


class DiskJobs:
    """The store of jobs of a service with a data directory."""

    durable = True

    def __init__(self, writer: Writer, database: Database) -> None:
        self.last_row = database.rows.last(Table.JOBS)
        self._writer = writer
        self._rows = database.rows
        self._damage = DamageLog()
        self._recent: OrderedDict[int, tuple[Job, int]] = OrderedDict()
        self._size = 0

    def __repr__(self) -> str:
        return f"<DiskJobs up to {self.last_row}>"

    @property
    def damaged(self) -> int:
        """How many rows were found to be damaged."""
        return self._damage.count

    def new_row(self) -> int:
        """Return the next number."""
        self.last_row += 1
        return self.last_row

    def put(self, job: Job, events: Sequence[bytes]) -> Pending[Job]:
        """Store a job with its newest events in one commit."""
        answer: Pending[Job] = Pending()
        self._writer.add(_PutJob(job, events, answer))
        return answer.then(self._remember)

    def _remember(self, job: Job) -> Job:
        self._forget(job.row)
        size = _EACH + len(bytes(job.work)) + len(bytes(job.result))
        self._recent[job.row] = job, size
        self._size += size
        while self._size > _RECENT:
            self._forget(next(iter(self._recent)))
        return job

    def _forget(self, row: int) -> None:
        _, size = self._recent.pop(row, (None, 0))
        self._size -= size

    def get(self, row: int) -> Job | Pending[Job]:
        """Return a job, read where it was not used lately."""
        if row in self._recent:
            return self._recent[row][0]
        return self._writer.read(partial(self._read_job, row)).then(self._remember)

    def _read_job(self, row: int) -> Job:
        """Return a job; called in the writer's thread."""
        try:
            record = self._rows.get(Table.JOBS, row)
        except apsw.Error as error:
            raise StorageFailed(f"storage: {error}") from error
        job = self._decoded(row, record) if record is not None else None
        if job is None:
            raise NotFound(_GONE)
        return job

    def _decoded(self, row: int, record: bytes) -> Job | None:
        """Return the job of a record, as it was where one bit has flipped; None where more is wrong."""
        try:
            return _decode(row, record)
        except Damaged as error:
            self._damage.report(Table.JOBS, error)
            mended = mend(row, record)
            return _decode(*mended) if mended is not None and mended.row == row else None

    def read(self, row: int, after: int) -> Pending[Sequence[bytes | None]]:
        """Return the events that follow an offset, one page of them."""
        return self._writer.read(partial(self._read_events, row, after))

    def _read_events(self, row: int, after: int) -> Sequence[bytes | None]:
        first = row << _OFFSET
        try:
            records = self._rows.between(Table.JOB_EVENTS, first | after + 1, first | (1 << _OFFSET) - 1, _PAGE)
        except apsw.Error as error:
            raise StorageFailed(f"storage: {error}") from error
        if not records:
            raise NotFound(_GONE)
        events: list[bytes | None] = []
        for number, record in records:
            # What is missing between two others is damaged.
            events.extend([None] * (number - (first | after + 1 + len(events))))
            events.append(self._event(number, record))
        return events

    def _event(self, number: int, record: bytes) -> bytes | None:
        try:
            return unseal(number, record)
        except Damaged as error:
            self._damage.report(Table.JOB_EVENTS, error)
            return None

    def drop(self, row: int, head: int) -> None:
        """Delete a job and its events."""
        self._forget(row)
        self._writer.add(_DropJob(row, head))

    def kept(self) -> Iterator[Job]:
        """Yield all jobs; those that are damaged are reported and left out."""
        for rows in self._rows.chunks(Table.JOBS):
            for row, record in rows:
                job = self._decoded(row, record)
                if job is not None:
                    yield job


def _decode(row: int, record: bytes) -> Job:
    try:
        return msgspec.json.decode(unseal(row, record), type=Job)
    except msgspec.MsgspecError as error:
        raise Damaged(f"row {row}: {error}") from error


class _PutJob:
    """What a job has become."""

    __slots__ = ("_answer", "_events", "_job", "size")
    count = 1

    def __init__(self, job: Job, events: Sequence[bytes], answer: Pending[Job]) -> None:
        self._job = job
        self._events = events
        self._answer = answer
        self.size = _EACH + len(bytes(job.work)) + sum(map(len, events))

    def prepare(self, changes: Changes) -> None:
        """Put the rows."""
        row, offset = self._job.row, self._job.head - len(self._events)
        changes.replace(Table.JOBS, row, write_json(row, msgspec.json.encode(self._job)))
        for number, event in enumerate(self._events, start=(row << _OFFSET) + offset + 1):
            changes.replace(Table.JOB_EVENTS, number, write_json(number, event))

    def committed(self) -> None:
        """Answer with the job."""
        self._answer.settle(self._job)

    def refused(self, error: SluiceError) -> None:
        """Answer that nothing of it was stored."""
        self._answer.settle(error)


class _DropJob:
    """A job that is gone; where this is refused it is found again at the next start, and dropped then."""

    size = _EACH
    count = 1

    def __init__(self, row: int, head: int) -> None:
        self._row = row
        self._head = head

    def prepare(self, changes: Changes) -> None:
        """Delete the rows."""
        first = self._row << _OFFSET
        changes.delete(Table.JOBS, array("q", [self._row]))
        changes.delete(Table.JOB_EVENTS, array("q", range(first + 1, first + self._head + 1)))

    def committed(self) -> None:
        """Do nothing more."""

    def refused(self, error: SluiceError) -> None:
        """Leave it."""
