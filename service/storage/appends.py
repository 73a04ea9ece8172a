"""What the writer does for messages: those that come one after another are one item.

A publish is one object here, which is its answer too. At 20,000 a second what Python does for each costs more than
SQLite does.
"""

from collections.abc import Callable, Sequence
from typing import Final

from service.core.containment import Containment
from service.core.errors import InternalError, SluiceError, StorageFailed
from service.core.pending import Pending
from service.core.ports import PublishKey
from service.core.topics.position import Position
from service.storage.database import RowChanges
from service.storage.kept_topics import KeptTopicRows
from service.storage.key_rows import KeyRows
from service.storage.records import write_message

__all__ = ["MOST", "Append", "AppendAll", "Appends"]

_EACH: Final = 300
"""Bytes that an append holds beside its data while it waits."""
MOST: Final = 50
"""Messages of one item: about half a millisecond of the loop when they are stored."""

_Appended = Callable[[KeptTopicRows], object]
"""Called with a topic when a message of it has been stored and is in its ring."""


class Append(Pending[Position]):
    """One message, which is also the answer with its position."""

    __slots__ = ("at", "data", "kept", "key", "offset")

    def __init__(self, kept: KeptTopicRows, data: bytes, at: float, key: PublishKey | None) -> None:
        self._first = self._others = self._outcome = None
        self.kept = kept
        self.data = data
        self.at = at
        self.key = key
        self.offset = 0
        """0 as long as it has none."""


class Appends:
    """Messages that are stored together; each is answered by itself."""

    __slots__ = ("_appended", "_appends", "_contain", "_keys", "count", "size")

    def __init__(self, keys: KeyRows, contain: Containment, appended: _Appended) -> None:
        self._keys = keys
        self._contain = contain
        self._appended = appended
        self._appends: list[Append] = []
        self.size = self.count = 0

    def add(self, append: Append) -> None:
        """Take in a message; only as long as the item waits, and has fewer than ``MOST``."""
        self._appends.append(append)
        self.count += 1
        self.size += _EACH + len(append.data)

    def prepare(self, changes: RowChanges) -> None:
        """Give each its offset and row; not if its topic was dropped meanwhile, or it cannot be written."""
        row, messages, odd = changes.next_row, changes.messages, []
        for append in self._appends:
            kept = append.kept
            if kept.dropped:
                continue
            offset = kept.head + 1
            try:
                # What raises comes first.
                record = write_message(row, kept.id, offset, append.at, append.data)
                if not kept.stored:
                    kept.write(changes)
                if append.key is not None:
                    self._keys.put(changes, append.key, kept.id, offset, append.at)
            except Exception as error:
                self._contain.report(error)
                odd.append(append)
                continue
            messages.append(record)
            kept.rows.append(row)
            kept.head = append.offset = offset
            row += 1
        for append in odd:
            self._appends.remove(append)
            self._contain(append.settle, InternalError("it could not be prepared for storage"))

    def committed(self) -> None:
        """Answer each with its position; one whose answer raises costs no other its own."""
        for append in self._appends:
            kept, offset = append.kept, append.offset
            try:
                if offset:
                    kept.stored = True
                    append.settle(Position(kept.epoch, offset))
                    self._appended(kept)
                else:
                    append.settle(StorageFailed("the topic was dropped"))
            except Exception as error:
                self._contain.report(error)

    def refused(self, error: SluiceError) -> None:
        """Take the offsets back; what came after them in the group is refused with them."""
        for append in self._appends:
            if append.offset:
                append.kept.head -= 1
                append.kept.rows.pop()
        for append in self._appends:
            self._contain(append.settle, error)


class AppendAll:
    """One message for each of some topics, for all or for none."""

    count = 1

    def __init__(
        self,
        topics: Sequence[KeptTopicRows],
        data: bytes,
        at: float,
        answer: Pending[Sequence[Position]],
        appended: _Appended,
    ) -> None:
        self._topics = topics
        self._data = data
        self._at = at
        self._answer = answer
        self._appended = appended
        self._positions: list[Position] = []
        self.size = (_EACH + len(data)) * len(topics)

    def prepare(self, changes: RowChanges) -> None:
        """Give the message its offsets and rows; where a topic was dropped meanwhile there are none."""
        if any(kept.dropped for kept in self._topics):
            return
        for kept in self._topics:
            row = changes.next_row
            kept.head += 1
            kept.rows.append(row)
            self._positions.append(kept.position)
            changes.messages.append(write_message(row, kept.id, kept.head, self._at, self._data))
            if not kept.stored:
                kept.write(changes)

    def committed(self) -> None:
        """Answer with the positions."""
        if not self._positions:
            self._answer.settle(StorageFailed("the topic was dropped"))
            return
        for kept in self._topics:
            kept.stored = True
        self._answer.settle(self._positions)
        for kept in self._topics:
            self._appended(kept)

    def refused(self, error: SluiceError) -> None:
        """Take the offsets back; those that came after it in its group are refused with it."""
        for kept in self._topics[: len(self._positions)]:
            kept.head -= 1
            kept.rows.pop()
        self._answer.settle(error)
