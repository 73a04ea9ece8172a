"""Batches on disk: what was asked for, their events, and the reading back of what is not in memory.

A batch is stored before it is acknowledged, and each event before anybody hears of it. An event whose commit fails
is tried again until it is stored: it waits in memory, in order, and is counted there
(``core/topics/pending_appends.py``).
"""

from array import array
from collections.abc import Callable, Sequence
from functools import partial

import apsw

from service.core.errors import StorageFailed
from service.core.fetching.batch import Batch, Keep
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import KeptTopic, PublishKey, UrlOutcome
from service.core.topics.position import Position
from service.core.topics.ring import CHUNK
from service.core.topics.topic import Topic
from service.storage.damage import DamageLog
from service.storage.log_rows import LogRows, RowIds, document_of, slices_of
from service.storage.log_writes import AppendEvent, DropLogs, ForgetRequests, PutBatch, PutRequests
from service.storage.records import Damaged, read_message
from service.storage.tables import Rows, Table
from service.storage.wall_clock import WallClock
from service.storage.writer import Writer

__all__ = ["LogIds", "LogStore"]


class LogIds:
    """The ids of rows: of batches, of what they ask for, and of events with their outcomes."""

    def __init__(self, batches: int = 0, requests: int = 0, events: int = 0) -> None:
        self.batches = RowIds(batches)
        self.requests = RowIds(requests)
        self.events = RowIds(events)


class LogStore:
    """Keeps batches in the database: the store of their topics, and of what else there is of them."""

    outlives = True

    def __init__(
        self, writer: Writer, rows: Rows, logs: Sequence[LogRows], orphans: Sequence[LogRows], ids: LogIds,
        clock: WallClock, new_epoch: Callable[[], str],
    ) -> None:  # fmt: skip
        self._damage = DamageLog()
        self._writer = writer
        self._rows = rows
        self._logs = {log.name: log for log in logs}
        self._ids = ids
        self._clock = clock
        self._new_epoch = new_epoch
        self._dropping = DropLogs(writer, orphans)

    def __repr__(self) -> str:
        return f"<LogStore {len(self._logs)} batches>"

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def damaged(self) -> int:
        """How many events were found to be damaged when they were read back."""
        return self._damage.count

    def history(self, name: str, owner: Owner) -> KeptTopic:
        """Return an epoch for a new batch, or where one stands that was read at the start."""
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = LogRows(self._ids.batches.next(), name, self._new_epoch())
        return KeptTopic(log.position, read=partial(self._read, log))

    def begin(self, batch: Batch) -> Pending[Batch]:
        """Store a batch; it is accepted with the answer."""
        log = self._logs[batch.topic.name]
        log.document = document_of(batch, self._clock.to_wall(batch.started))
        for first, piece in slices_of(batch.items):
            self._writer.add(PutRequests(log, self._ids.requests, first, piece))
        answer: Pending[Batch] = Pending()
        self._writer.add(PutBatch(log, {}, partial(answer.settle, batch), answer.settle))
        return answer

    def change(self, batch: Batch, keep: Keep, *, cancelled: bool) -> Pending[Batch]:
        """Store who keeps a batch alive, and whether it was cancelled."""
        answer: Pending[Batch] = Pending()
        fields = {"keep": keep.name, "cancelled": cancelled}
        log = self._logs[batch.topic.name]
        self._writer.add(PutBatch(log, fields, partial(answer.settle, batch), answer.settle))
        return answer

    def end(self, batch: Batch) -> None:
        """Delete what it asked for."""
        log = self._logs.get(batch.topic.name)
        if log is not None and log.requests:
            self._writer.add(ForgetRequests(log))

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Pending[Position]:
        """Return the position that a commit gives to the event, now or once storage works again."""
        answer: Pending[Position] = Pending()
        log = self._logs.get(topic.name)
        if log is None:
            answer.settle(StorageFailed("the batch was dropped"))
            return answer
        outcome = note if isinstance(note, UrlOutcome) else UrlOutcome(-2, 0)
        self._writer.add_lasting(
            AppendEvent(log, self._ids.events, bytes(data), self._clock.to_wall(now), outcome, answer)
        )
        return answer

    def drop(self, topic: Topic) -> None:
        """Delete a batch with all that it has, a slice in each commit."""
        log = self._logs.pop(topic.name, None)
        if log is not None:
            log.dropped = True
            self._dropping.add(log)

    def expire(self) -> None:
        """Go on with deleting."""
        self._dropping.start()

    def _read(self, log: LogRows, after: int) -> Pending[Sequence[bytes | None]]:
        """Read the events that follow an offset, about as many as a reader takes at once."""
        end, room = after, CHUNK
        while end < len(log.rows) and (end == after or room >= log.sizes[end]):
            room -= log.sizes[end]
            end += 1
        page = self._writer.read(partial(_read_events, self._rows, log.id, after + 1, log.rows[after:end]))
        return page.then(partial(self._checked, log))

    def _checked(self, log: LogRows, page: Sequence[bytes | str]) -> Sequence[bytes | None]:
        """Report what is damaged, and refuse what may have been read while it was deleted."""
        if log.dropped or not page:
            raise StorageFailed("the batch was dropped")
        for why in page:
            if isinstance(why, str):
                self._damage.report(Table.EVENTS, why)
        return [event if isinstance(event, bytes) else None for event in page]


def _read_events(rows: Rows, batch: int, first: int, ids: "array[int]") -> list[bytes | str]:
    """Return events, or what is wrong with them; called in the writer's thread."""
    try:
        records = rows.some(Table.EVENTS, ids)
    except apsw.Error as error:
        raise StorageFailed(f"storage: {error}") from error
    return [_read_event(row, records.get(row), batch, offset) for offset, row in enumerate(ids, first)]


def _read_event(row: int, record: bytes | None, batch: int, offset: int) -> bytes | str:
    if record is None:
        return f"row {row} is missing"
    try:
        event = read_message(row, record)
    except Damaged as error:
        return str(error)
    if (event.topic, event.offset) != (batch, offset):
        return f"row {row} belongs elsewhere"
    return event.data
