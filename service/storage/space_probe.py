"""Probing for room on the disk, while commits fail."""

from array import array
from collections.abc import Callable

from service.core.errors import SluiceError
from service.storage.database import RowChanges
from service.storage.records import write_filler
from service.storage.tables import FILLER_ROW, Table
from service.storage.writes import Write

__all__ = ["SpaceProbe"]


class SpaceProbe:
    """As many bytes as could not be stored, stored to see whether they can be now; then they are deleted."""

    count = 1
    __slots__ = ("_add", "size")

    def __init__(self, size: int, add: Callable[[Write], None]) -> None:
        self.size = size
        self._add = add

    def prepare(self, changes: RowChanges) -> None:
        """Put a filler."""
        changes.replace(Table.STATE, FILLER_ROW, write_filler(FILLER_ROW, self.size))

    def committed(self) -> None:
        """Have it deleted."""
        self._add(_ProbeEnd())

    def refused(self, error: SluiceError) -> None:
        """Leave it at that."""


class _ProbeEnd:
    """The end of a probe; where it is refused, the next probe takes the same row."""

    count = 1
    size = 0

    def prepare(self, changes: RowChanges) -> None:
        """Delete the filler."""
        changes.delete(Table.STATE, array("q", [FILLER_ROW]))

    def committed(self) -> None:
        """Go on: its room is used by what comes."""

    def refused(self, error: SluiceError) -> None:
        """Leave it to the next probe."""
