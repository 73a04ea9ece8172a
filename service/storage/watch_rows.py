"""The rows of watches: for which state of a watched URL which conditions go with the next poll."""

from array import array
from collections.abc import Iterable
from itertools import count
from typing import Final

import msgspec

from service.core.errors import SluiceError
from service.core.ports import KeptWatch
from service.storage.database import RowChanges
from service.storage.records import write_document
from service.storage.tables import Table
from service.storage.writer import Writer

__all__ = ["WatchRow", "WatchRows"]

_SIZE: Final = 500


class WatchRow(msgspec.Struct, frozen=True):
    """The row of a watch, as it is stored."""

    topic: str
    state: str
    conditions: dict[str, str]


class WatchRows:
    """What is kept of each watch, by the name of its topic; ``read`` is what was found at the start, with rows."""

    def __init__(self, writer: Writer, read: Iterable[tuple[int, str, KeptWatch]]) -> None:
        self._writer = writer
        self._kept: dict[str, KeptWatch] = {}
        self._rows: dict[str, int] = {}
        self._changed: set[str] = set()
        """Names whose row is to be written by an item that waits."""
        for row, name, watch in read:
            self._kept[name], self._rows[name] = watch, row
        self._next = count(max(self._rows.values(), default=0) + 1)

    def __repr__(self) -> str:
        return f"<WatchRows {len(self._kept)}>"

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> KeptWatch | None:
        """Return what was put last."""
        return self._kept.get(name)

    def put(self, name: str, watch: KeptWatch) -> None:
        """Have it stored with the next commit, if it is new."""
        if self._kept.get(name) != watch:
            self._kept[name] = KeptWatch(watch.state, dict(watch.conditions))
            self._write(name)

    def delete(self, name: str) -> None:
        """Have its row deleted."""
        if self._kept.pop(name, None) is not None:
            self._write(name)

    def _write(self, name: str) -> None:
        if name not in self._changed:
            self._changed.add(name)
            self._writer.add(_Row(self, name))

    def prepare(self, name: str, changes: RowChanges) -> None:
        """Put the row as it is to be now, or delete it."""
        self._changed.discard(name)
        watch = self._kept.get(name)
        if watch is None:
            if name in self._rows:
                changes.delete(Table.WATCHES, array("q", [self._rows[name]]))
            return
        row = self._rows.get(name) or next(self._next)
        self._rows[name] = row
        document = {"topic": name, "state": watch.state, "conditions": dict(watch.conditions)}
        changes.replace(Table.WATCHES, row, write_document(row, document))

    def committed(self, name: str) -> None:
        """Forget a row that has been deleted."""
        if name not in self._kept:
            self._rows.pop(name, None)

    def refused(self, name: str) -> None:
        """Forget what could not be stored: the next poll of a URL asks for all of it, and puts it again."""
        self._kept.pop(name, None)


class _Row:
    """One row that has changed; what it has is decided when it is written."""

    count = 1
    __slots__ = ("_name", "_rows", "size")

    def __init__(self, rows: WatchRows, name: str) -> None:
        self._rows = rows
        self._name = name
        self.size = _SIZE

    def prepare(self, changes: RowChanges) -> None:
        """Put or delete the row."""
        self._rows.prepare(self._name, changes)

    def committed(self) -> None:
        """Record it."""
        self._rows.committed(self._name)

    def refused(self, error: SluiceError) -> None:
        """Do nothing: no part of it is stored."""
        self._rows.refused(self._name)
