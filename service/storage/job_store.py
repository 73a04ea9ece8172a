"""Jobs on disk: the state of each, put anew with each change, its request, and its events (``job_rows.py``).

Jobs that were used last are in memory. Others are read when they are asked for: all that are wanted while a read is
under way are read together by the next one, so that many that are due at once cost few reads.
"""

import asyncio
from array import array
from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Final

import apsw
import msgspec

from service.core.errors import NotFound, SluiceError, StorageFailed
from service.core.jobs.job import Job
from service.core.jobs.kept import KeptJobs
from service.core.pending import Pending
from service.storage.damage import DamageLog
from service.storage.database import Database, RowChanges
from service.storage.job_rows import (
    JobRequestRow,
    event_ids,
    event_row,
    read_request,
    read_state,
    write_request,
    write_state,
)
from service.storage.records import Damaged, Mended, mend, unseal, write_json
from service.storage.tables import Table
from service.storage.writer import Writer

__all__ = ["DiskJobs"]

_PAGE: Final = 256
"""Events that are read at once."""
_READ: Final = 4 << 20
_ROWS: Final = 100
"""Bytes of requests, about, and jobs that are read at once."""
_TURN: Final = 10
"""Jobs that go on in one turn of the loop: what follows takes 0.1 ms each."""
_RECENT: Final = 8 << 20
"""Bytes of jobs in memory."""
_EACH: Final = 600
_GONE: Final = "the job does not exist or has expired"
_DAMAGED: Final = JobRequestRow(msgspec.Raw(b""), msgspec.Raw(b"null"))


class DiskJobs:
    """The store of jobs of a service with a data directory."""

    durable = True

    def __init__(self, writer: Writer, database: Database, kept: KeptJobs) -> None:
        self.last_row = database.rows.last(Table.JOBS)
        self._kept = kept
        self._writer = writer
        self._rows = database.rows
        self._damage = DamageLog()
        self._recent: OrderedDict[int, tuple[Job, int]] = OrderedDict()
        self._size = 0
        self._wanted: dict[int, Pending[Job]] = {}
        self._reading = False
        self._mended: deque[Mended] = deque()
        """Requests in which one bit has flipped, as they were."""

    def __repr__(self) -> str:
        return f"<DiskJobs up to {self.last_row}>"

    @property
    def damaged(self) -> int:
        """How many rows were found to be damaged since the start."""
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
        wanted = self._wanted.get(row)
        if wanted is None:
            wanted = self._wanted[row] = Pending()
            self._read_wanted()
        return wanted

    def _read_wanted(self) -> None:
        """Have the writer's thread read what is wanted, unless it does."""
        if self._wanted and not self._reading:
            self._reading = True
            rows = tuple(islice(self._wanted, _ROWS))
            self._writer.read(partial(self._read_jobs, rows)).on_settled(partial(self._answer, rows))

    def _answer(self, rows: Sequence[int], found: dict[int, Job | SluiceError] | Exception) -> None:
        """Give those who wait what was read, some in each turn of the loop, and read the others."""
        while self._mended:
            self._writer.add(_MendRequest(self._mended.popleft()))
        for row in rows[:_TURN]:
            job = found if isinstance(found, Exception) else found.get(row)
            if job is not None:
                outcome = self._remember(job) if isinstance(job, Job) else job
                self._writer.contain(self._wanted.pop(row).settle, outcome)
        if len(rows) > _TURN:
            asyncio.get_running_loop().call_soon(self._answer, rows[_TURN:], found)
        else:
            self._reading = False
            self._read_wanted()

    def _read_jobs(self, rows: Sequence[int]) -> dict[int, Job | SluiceError]:
        """Return jobs, at least the first of these; called in the writer's thread."""
        found: dict[int, Job | SluiceError] = {}
        room = _READ
        try:
            for row in rows:
                job = self._read_job(row)
                found[row] = job or NotFound(_GONE)
                room -= len(bytes(job.work)) if job is not None else 0
                if room <= 0:
                    break
        except apsw.Error as error:
            raise StorageFailed(f"storage: {error}") from error
        return found

    def _read_job(self, row: int) -> Job | None:
        state = self._whole(Table.JOBS, row)
        if state is None:
            return None
        request = self._whole(Table.JOB_REQUESTS, row)
        asked = _DAMAGED if request is None else read_request(row, request)
        return msgspec.structs.replace(read_state(row, state), work=asked.work, grant=asked.grant)

    def _whole(self, table: Table, row: int) -> bytes | None:
        """Return a record, as it was where one bit has flipped; None where there is none, or more is wrong."""
        record = self._rows.get(table, row)
        if record is None:
            return None
        try:
            unseal(row, record)
        except Damaged as error:
            self._damage.report(table, error)
        else:
            return record
        mended = mend(row, record)
        if mended is None or mended.row != row:
            return None
        if table is Table.JOB_REQUESTS:  # nobody can have put a newer one meanwhile
            self._mended.append(mended)
        return mended.record

    def read(self, row: int, after: int) -> Pending[Sequence[bytes | None]]:
        """Return the events that follow an offset, one page of them."""
        return self._writer.read(partial(self._read_events, row, after))

    def _read_events(self, row: int, after: int) -> Sequence[bytes | None]:
        first = event_row(row, after + 1)
        try:
            records = self._rows.between(Table.JOB_EVENTS, first, event_ids(row)[1], _PAGE)
        except apsw.Error as error:
            raise StorageFailed(f"storage: {error}") from error
        if not records:
            raise NotFound(_GONE)
        events: list[bytes | None] = []
        for number, record in records:
            # What is missing between two others is damaged.
            events.extend([None] * (number - (first + len(events))))
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

    def kept(self) -> KeptJobs:
        """Return what was read at the start."""
        return self._kept


class _PutJob:
    """What a job has become; its request too where it is new."""

    __slots__ = ("_answer", "_before", "_events", "_job", "size")
    count = 5
    """Of changes that take as long: what follows wakes a task."""

    def __init__(self, job: Job, events: Sequence[bytes], answer: Pending[Job]) -> None:
        self._job = job
        self._events = events
        self._answer = answer
        self._before = job.head - len(events)
        self.size = _EACH + len(bytes(job.result)) + sum(map(len, events))
        if not self._before:
            self.size += len(bytes(job.work))

    def prepare(self, changes: RowChanges) -> None:
        """Put the rows."""
        row = self._job.row
        changes.replace(Table.JOBS, row, write_state(self._job))
        if not self._before:
            changes.replace(Table.JOB_REQUESTS, row, write_request(self._job))
        for number, event in enumerate(self._events, start=event_row(row, self._before + 1)):
            changes.replace(Table.JOB_EVENTS, number, write_json(number, event))

    def committed(self) -> None:
        """Answer with the job."""
        self._answer.settle(self._job)

    def refused(self, error: SluiceError) -> None:
        """Answer that no part of it was stored."""
        self._answer.settle(error)


class _DropJob:
    """A job that is gone; where this is refused it is found again at the next start, and dropped then."""

    size = _EACH
    count = 1

    def __init__(self, row: int, head: int) -> None:
        self._row = row
        self._head = head

    def prepare(self, changes: RowChanges) -> None:
        """Delete the rows."""
        changes.delete(Table.JOBS, array("q", [self._row]))
        changes.delete(Table.JOB_REQUESTS, array("q", [self._row]))
        first = event_row(self._row, 1)
        changes.delete(Table.JOB_EVENTS, array("q", range(first, first + self._head)))

    def committed(self) -> None:
        """Do nothing more."""

    def refused(self, error: SluiceError) -> None:
        """Leave it."""


class _MendRequest:
    """A request as it was before a bit of it flipped; where this is refused it is found again."""

    count = 1

    def __init__(self, mended: Mended) -> None:
        self._mended = mended
        self.size = _EACH + len(mended.record)

    def prepare(self, changes: RowChanges) -> None:
        """Put the row."""
        changes.replace(Table.JOB_REQUESTS, *self._mended)

    def committed(self) -> None:
        """Do nothing more."""

    def refused(self, error: SluiceError) -> None:
        """Leave it."""
