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

__all__ = ["SLICE", "Scan", "Take"]

_log = logging.getLogger("sluice.storage")

SLICE: Final = 20_000
"""Rows that are taken in before the loop is asked whether the start is to go on: 50 ms."""
_PROGRESS: Final = 200_000
_MENDED: Final = 1_000
"""Damaged records in which a flipped bit is looked for."""

Take = Callable[[int, bytes], object]
"""Takes in the row of an id and a record; raises Damaged where that is not what was written."""


class Scan:
    """One reading of a database. ``changes`` is what it has to change before it is used."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.damage = DamageLog()
        self.changes = RowChanges(database.next_row)

    def __repr__(self) -> str:
        return f"<Scan of {self.database!r}, {self.damage.count} damaged>"

    async def read(self, table: Table, take: Take, lost: Callable[[int], bool] | None = None) -> None:
        """Have every row of a table taken in.

        ``lost`` is called with the id of one that cannot be put right, and returns whether it is to be kept.
        """
        rows = self.database.rows.all(table)

        def take_some() -> int:
            count = 0
            for row, record in islice(rows, SLICE):
                count += 1
                self.take(table, row, record, take, lost)
            return count

        await self.read_slices(table, take_some)

    async def read_slices(self, table: Table, take: Callable[[], int]) -> None:
        """Have rows taken in, in a thread: ``take`` takes some at a time and returns how many, none at the end."""
        count = 0
        while taken := await asyncio.to_thread(take):
            if (count + taken) // _PROGRESS > count // _PROGRESS:
                _log.info("reading the data directory", extra={"table": table.value, "rows": count + taken})
            count += taken

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

    def take(
        self, table: Table, row: int, record: bytes, take: Take, lost: Callable[[int], bool] | None = None
    ) -> None:
        """Pass one row to ``take``, as :meth:`read` does."""
        try:
            take(row, record)
        except Damaged as error:
            mended = self.mend(table, row, record, error)
            if mended is not None and _taken(take, mended):
                self.changes.replace(table, *mended)
                if mended.row != row:
                    self.discard(table, row)
            elif lost is None or not lost(row):
                self.discard(table, row)


def _taken(take: Take, mended: Mended) -> bool:
    """Take in a record that was put right; return False where what it says cannot be."""
    try:
        take(*mended)
    except Damaged:
        return False
    return True
