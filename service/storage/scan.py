"""Reading whole tables at the start: each in one pass, and what happens to a record that is damaged.

Where one bit of it has flipped, the checksum says which, and the record is written as it was. What cannot be put
right, nor done without, is deleted. One cursor reads all rows of a table and meets every page of it: a read that
began anew for each slice could miss some where the file is damaged.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable
from itertools import islice
from typing import Final

from service.storage.damage import DamageLog
from service.storage.database import Database, RowChanges
from service.storage.records import Damaged, Mended, mend
from service.storage.tables import Table

__all__ = ["SLICE", "Handle", "Scan"]

_log = logging.getLogger("sluice.storage")

SLICE: Final = 20_000
"""Rows that are handled before the loop is asked whether the start is to go on: 50 ms."""
_PROGRESS: Final = 200_000
_MENDED: Final = 1_000
"""Damaged records in which a flipped bit is looked for."""

Handle = Callable[[int, bytes], object]
"""Takes in the row of an id and a record; raises Damaged where that is not what was written."""


class Scan:
    """One reading of a database. ``changes`` is what it has to change before it is used."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.damage = DamageLog()
        self.changes = RowChanges(database.next_row)

    def __repr__(self) -> str:
        return f"<Scan of {self.database!r}, {self.damage.count} damaged>"

    async def read(self, table: Table, handle: Handle, lost: Callable[[int], bool] | None = None) -> None:
        """Have every row of a table handled.

        ``lost`` is called with the id of one that cannot be put right, and returns whether it is to be kept.
        """
        rows = self.database.rows.all(table)

        def handle_some() -> int:
            count = 0
            for row, record in islice(rows, SLICE):
                count += 1
                self.handle(table, row, record, handle, lost)
            return count

        await self.read_slices(table, handle_some)

    async def read_slices(self, table: Table, handle: Callable[[], int]) -> None:
        """Have rows handled in a thread: each call handles some and returns how many, none at the end."""
        count = 0
        while handled := await asyncio.to_thread(handle):
            if (count + handled) // _PROGRESS > count // _PROGRESS:
                _log.info("reading the data directory", extra={"table": table.value, "rows": count + handled})
            count += handled

    def mend(self, table: Table, row: int, record: bytes, error: Damaged) -> Mended | None:
        """Report a damaged record, and return it as it was, where that can be found out."""
        self.damage.report(table, error)
        return mend(row, record) if self.damage.count <= _MENDED else None

    def discard(self, table: Table, row: int) -> None:
        """Have a row deleted."""
        self.changes.delete(table, array("q", [row]))

    async def finish(self) -> None:
        """Change in the database what was found to be wrong."""
        if self.changes.put or self.changes.deleted or self.database.damage.count:
            await asyncio.to_thread(self.database.write, self.changes)

    def handle(
        self, table: Table, row: int, record: bytes, handle: Handle, lost: Callable[[int], bool] | None = None
    ) -> None:
        """Pass one row to ``handle``, as :meth:`read` does."""
        try:
            handle(row, record)
        except Damaged as error:
            mended = self.mend(table, row, record, error)
            if mended is not None and _handled(handle, mended):
                self.changes.replace(table, *mended)
                if mended.row != row:
                    self.discard(table, row)
            elif lost is None or not lost(row):
                self.discard(table, row)


def _handled(handle: Handle, mended: Mended) -> bool:
    """Handle a record that was put right; return False where what it says cannot be."""
    try:
        handle(*mended)
    except Damaged:
        return False
    return True
