"""The rows of idempotency keys, in order of time, so that those whose time is over are found at once."""

from array import array
from collections import deque

import msgspec

from service.core.ports import PublishKey
from service.storage.database import RowChanges
from service.storage.records import Seconds, StoredCount, write_document
from service.storage.tables import Table

__all__ = ["KeyRow", "KeyRows"]


class KeyRow(msgspec.Struct, frozen=True):
    """The row of a key, as it is stored."""

    topic: int
    owner: str
    key: str
    offset: StoredCount
    at: Seconds


class KeyRows:
    """Which rows there are, and when each was written, in seconds since 1970."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, int]] = deque()
        self._next = 1

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int, at: float) -> None:
        """Take in a row that was read; they come in order."""
        self._rows.append((at, row))
        self._next = row + 1

    def put(self, changes: RowChanges, key: PublishKey, topic: int, offset: int, at: float) -> None:
        """Store the key of a message; the topic is its id in the database."""
        document = {"topic": topic, "owner": str(key.owner), "key": key.key, "offset": offset, "at": at}
        changes.replace(Table.KEYS, self._next, write_document(self._next, document))
        self.read(self._next, at)

    def pop_older(self, than: float) -> "array[int]":
        """Return the rows that were written before that, and forget them."""
        found = array("q")
        while self._rows and self._rows[0][0] < than:
            found.append(self._rows.popleft()[1])
        return found
