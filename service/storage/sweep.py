"""Deleting what is not needed any more, in groups that the writer has time for."""

from array import array
from collections.abc import Callable
from typing import Any, Final

from service.core.errors import SluiceError
from service.storage.database import RowChanges
from service.storage.kept_topics import KeptTopicRows
from service.storage.tables import Table

__all__ = ["Sweep"]

_ROWS: Final = 5_000
"""Rows that one group deletes: 10 ms."""
_SIZE: Final = 300


class Sweep:
    """Rows that are to be deleted; at its end ``ended`` gets the sweep, and whether they are."""

    count = 1
    __slots__ = ("_cut", "_deleted", "_ended", "_rows", "_trimmed", "keys", "size")

    def __init__(self, ended: "Callable[[Sweep, bool], None]") -> None:
        self._ended = ended
        self.keys: Any = array("q")
        self._rows: Any = array("q")
        """Rows that are cut off their topics already."""
        self.size = _SIZE
        self._trimmed: dict[KeptTopicRows, None] = {}
        self._deleted: list[KeptTopicRows] = []
        self._cut: list[tuple[KeptTopicRows, array[int]]] = []

    @property
    def due(self) -> bool:
        """Whether there is anything to delete."""
        return bool(self.keys or self._rows or self._trimmed or self._deleted)

    def cut(self, kept: KeptTopicRows, count: int) -> int:
        """Delete the oldest rows of a topic, which is left with others; return how many are to be deleted in all.

        Where a kill is faster they are read again, and given up again by the ring.
        """
        self._rows += kept.rows[:count]
        del kept.rows[:count]
        return len(self._rows)

    def trim(self, kept: KeptTopicRows) -> None:
        """Delete the rows that the topic's ring has given up by then, perhaps all."""
        self._trimmed[kept] = None

    def delete(self, kept: KeptTopicRows) -> None:
        """Delete all rows of a topic, and its own."""
        self._trimmed.pop(kept, None)
        self._deleted.append(kept)

    def add(self, other: "Sweep") -> None:
        """Take in what another could not delete."""
        self.keys.extend(other.keys)
        self._rows += other._rows
        self._trimmed |= other._trimmed
        self._deleted += other._deleted

    def prepare(self, changes: RowChanges) -> None:
        """Delete at most as many rows as a group has time for; the next sweep finds the others."""
        changes.delete(Table.KEYS, self.keys)
        changes.delete(Table.MESSAGES, self._rows)
        for kept in self._deleted:
            changes.delete(Table.MESSAGES, kept.rows)
            changes.delete(Table.TOPICS, array("q", [kept.id]))
        given_up = array("q")
        for kept in self._trimmed:
            count = min(kept.overhang, _ROWS - len(given_up))
            # At once: another sweep of the same group must not find them again.
            cut = kept.rows[:count]
            del kept.rows[:count]
            self._cut.append((kept, cut))
            given_up += cut
            if not kept.rows:
                # No message says any longer where the topic stands.
                kept.write(changes)
        changes.delete(Table.MESSAGES, given_up)

    def committed(self) -> None:
        """Say so: the rows were forgotten when they were prepared."""
        self._ended(self, True)

    def refused(self, error: SluiceError) -> None:
        """Take the rows back, and leave all of it to a later sweep."""
        for kept, cut in self._cut:
            kept.rows[:0] = cut
        self._cut = []
        self._ended(self, False)
