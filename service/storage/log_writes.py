"""What the writer does for batches: each of these is stored whole or not at all."""

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from service.core.errors import SluiceError, StorageFailed
from service.core.fetching.request import FetchRequest
from service.core.pending import Pending
from service.core.ports import UrlOutcome
from service.core.topics.position import Position
from service.storage.database import RowChanges
from service.storage.log_rows import LogRows, RowIds
from service.storage.records import OutcomeRecord, write_document, write_json, write_message, write_outcome
from service.storage.tables import Table
from service.storage.writer import Writer

__all__ = ["AppendEvent", "DropLogs", "ForgetRequests", "PutBatch", "PutRequests"]

_EACH: Final = 300
_PAGES: Final = 2_000
"""Pages that the rows have which one commit deletes."""
_PAGE: Final = 4096


class PutRequests:
    """Some of what a batch asks for."""

    count = 1

    def __init__(self, log: LogRows, ids: RowIds, first: int, items: list[FetchRequest | str]) -> None:
        self._log = log
        self._ids = ids
        self._first = first
        self._items = items
        self.size = _EACH + sum(len(item) if isinstance(item, str) else len(item.body or "") for item in items)

    def prepare(self, changes: RowChanges) -> None:
        """Put the row."""
        row = self._ids.next()
        document = {"batch": self._log.id, "first": self._first, "items": self._items}
        changes.replace(Table.REQUESTS, row, write_json(row, msgspec.json.encode(document)))
        self._log.requests.append(row)

    def committed(self) -> None:
        """Do nothing: the row of the batch comes next, and answers."""

    def refused(self, error: SluiceError) -> None:
        """Have the batch refused."""
        self._log.refused = True


class PutBatch:
    """The row of a batch with some fields changed; ``stored`` and ``failed`` are called with how that ended."""

    count = 1

    def __init__(
        self,
        log: LogRows,
        fields: dict[str, Any],
        stored: Callable[[], object],
        failed: Callable[[SluiceError], object],
    ) -> None:
        self._log = log
        self._fields = fields
        self._stored = stored
        self._failed = failed
        self.size = _EACH

    def prepare(self, changes: RowChanges) -> None:
        """Put the row, unless the batch is gone or not whole."""
        log = self._log
        if not (log.dropped or log.refused):
            changes.replace(Table.BATCHES, log.id, write_document(log.id, {**log.document, **self._fields}))

    def committed(self) -> None:
        """Answer."""
        if self._log.dropped or self._log.refused:
            self._failed(StorageFailed("storage: the batch could not be stored"))
            return
        self._log.document.update(self._fields)
        self._stored()

    def refused(self, error: SluiceError) -> None:
        """Answer that it was not stored."""
        self._failed(error)


class ForgetRequests:
    """Deletes what a batch asked for once all of it is done; where that is refused it goes with the batch."""

    count = 1

    def __init__(self, log: LogRows) -> None:
        self._log = log
        self.size = _EACH

    def prepare(self, changes: RowChanges) -> None:
        """Delete the rows."""
        changes.delete(Table.REQUESTS, self._log.requests)

    def committed(self) -> None:
        """Forget the rows."""
        self._log.requests = array("q")

    def refused(self, error: SluiceError) -> None:
        """Leave it."""


class AppendEvent:
    """One event of a batch and its outcome, tried again until it is stored or the batch is dropped."""

    count = 1
    __slots__ = ("_answer", "_at", "_data", "_given", "_ids", "_log", "_outcome", "size")

    def __init__(
        self, log: LogRows, ids: RowIds, data: bytes, at: float, outcome: UrlOutcome, answer: Pending[Position]
    ) -> None:
        self._log = log
        self._ids = ids
        self._data = data
        self._at = at
        self._outcome = outcome
        self._answer = answer
        self._given: Position | None = None
        self.size = _EACH + len(data)

    def prepare(self, changes: RowChanges) -> None:
        """Give the event its offset and row."""
        log = self._log
        if log.dropped:
            return
        row, offset, size = self._ids.next(), log.head + 1, len(self._data)
        outcome = OutcomeRecord(log.id, offset, self._at, self._outcome.item, self._outcome.status, size)
        changes.replace(Table.EVENTS, row, write_message(row, log.id, offset, self._at, self._data))
        changes.replace(Table.OUTCOMES, row, write_outcome(row, outcome))
        log.head = offset
        log.rows.append(row)
        log.sizes.append(size)
        self._given = log.position

    def committed(self) -> None:
        """Answer with the position."""
        self._answer.settle(self._given or StorageFailed("the batch was dropped"))

    def postponed(self) -> None:
        """Take the offset back; those that came after it in its group are postponed with it."""
        if self._given is not None:
            self._log.head -= 1
            self._log.rows.pop()
            self._log.sizes.pop()
            self._given = None

    def refused(self, error: SluiceError) -> None:
        """Give it up: it cannot even be prepared, or the service ends."""
        self._answer.settle(error)


class DropLogs:
    """All rows of batches that are gone, in as many commits as that takes, one at a time."""

    count = 1
    size = _EACH

    def __init__(self, writer: Writer, logs: Sequence[LogRows] = ()) -> None:
        self._writer = writer
        self._logs = deque(logs)
        self._cut: list[tuple[LogRows, int]] = []
        self._under_way = False

    def __repr__(self) -> str:
        return f"<DropLogs {len(self._logs)}>"

    def add(self, log: LogRows) -> None:
        """Take in a batch."""
        self._logs.append(log)

    def start(self) -> None:
        """Begin, unless nothing is to be deleted or it is under way."""
        if self._logs and not self._under_way:
            self._under_way = True
            self._writer.add(self)

    def prepare(self, changes: RowChanges) -> None:
        """Delete what one commit has time for: the row of a batch first, so that no start takes it for whole."""
        self._cut = []
        room = _PAGES
        for log in self._logs:
            if room <= 0:
                return
            count = 0
            while count < len(log.rows) and room > 0:
                room -= 1 + log.sizes[count] // _PAGE
                count += 1
            changes.delete(Table.BATCHES, array("q", [log.id]))
            changes.delete(Table.REQUESTS, log.requests)
            changes.delete(Table.EVENTS, log.rows[:count])
            changes.delete(Table.OUTCOMES, log.rows[:count])
            self._cut.append((log, count))
            room -= 1

    def committed(self) -> None:
        """Forget these rows, and go on with the next."""
        for log, count in self._cut:
            log.requests = array("q")
            del log.rows[:count], log.sizes[:count]
            if not log.rows:
                self._logs.remove(log)
        self._under_way = False
        self.start()

    def refused(self, error: SluiceError) -> None:
        """Begin again a second later."""
        self._under_way = False
