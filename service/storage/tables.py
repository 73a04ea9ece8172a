"""The tables, and reading them. All have the same shape: an id and a record (``records.py``)."""

import errno
from array import array
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import apsw

from service.storage.errors import StorageUnusable

__all__ = [
    "APPLICATION",
    "BACKUP_ROW",
    "FILLER_ROW",
    "VERSION",
    "Rows",
    "Table",
    "check_format",
    "disordered",
    "reason",
]

APPLICATION: Final = 0x534C4349
"""``SLCI``, in the header of the file: what SQLite and ``file`` know the format by."""
VERSION: Final = 4
"""Of the format; a newer one is refused, an older one is migrated at the start."""
BACKUP_ROW: Final = 2
"""The row of the table ``state`` that a backup has beside the first: how many commits were counted."""
FILLER_ROW: Final = 3
"""The row of the table ``state`` in which the writer tries whether there is room."""
_CHUNK: Final = 10_000
_CHUNK_BYTES: Final = 8 << 20
"""Rows that are read at once, and about how many bytes."""


class Table(StrEnum):
    """What there is to keep."""

    STATE = "state"
    TOPICS = "topics"
    MESSAGES = "messages"
    KEYS = "keys"
    WATCHES = "watches"
    BATCHES = "batches"
    REQUESTS = "requests"
    """What batches that are not done have asked for, some items in a row."""
    EVENTS = "events"
    """Of batches; records as those of messages."""
    OUTCOMES = "outcomes"
    """For each event, under its id, which URL it ends: what a start has to know of it without reading its body."""
    JOBS = "jobs"
    """The state of each, which changes."""
    JOB_REQUESTS = "job_requests"
    """What was asked for, under the id of the job; it never changes."""
    JOB_EVENTS = "job_events"
    """The number of the job and the offset are the id (``job_rows.py``)."""


class Rows:
    """What a connection reads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def read(self, table: Table, after: int = -1) -> list[tuple[int, bytes]]:
        """Return the next rows in order of their ids, as many as are read at once; nothing at the end.

        Raises CorruptError where the ids are not in order: a reader of the whole table would never end.
        """
        query = f"SELECT id, record FROM {table} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        rows: list[tuple[int, bytes]] = []
        room, cursor = _CHUNK_BYTES, self._connection.execute(query, (after, _CHUNK))
        for number, record in cursor:
            if number <= after:
                raise disordered(table)
            after = number
            # A flipped bit can turn a blob into anything: this one has no checksum.
            rows.append((number, record if isinstance(record, bytes) else b""))
            room -= len(rows[-1][1])
            if room <= 0:
                break
        # Else the read would go on, and the WAL would grow for as long.
        cursor.close()
        return rows

    def chunks(self, table: Table) -> Iterator[list[tuple[int, bytes]]]:
        """Yield all rows of a table, some at a time: each is a read of its own, so that the WAL is free between."""
        after = -1
        while rows := self.read(table, after):
            yield rows
            after = rows[-1][0]

    def all(self, table: Table) -> Iterator[tuple[int, bytes]]:
        """Yield all rows of a table in one read, which meets every page of it; where nobody writes meanwhile.

        Raises CorruptError where the ids are not in order.
        """
        after = -1
        for number, record in self.cursor(table):
            if number <= after:
                raise disordered(table)
            after = number
            yield number, record if isinstance(record, bytes) else b""

    def cursor(self, table: Table) -> Iterator[tuple[int, Any]]:
        """Yield the same rows in half the time; the caller has to check the ids, and that the records are blobs."""
        return self._connection.execute(f"SELECT id, record FROM {table} ORDER BY id")  # noqa: S608

    def has(self, table: Table) -> bool:
        """Return whether there is such a table: older formats have fewer."""
        return bool(self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table.value,)).get)

    def some(self, table: Table, ids: "array[int]") -> dict[int, bytes]:
        """Return the records of these ids, as far as they are there."""
        query = f"SELECT id, record FROM {table} WHERE id IN carray(?)"  # noqa: S608
        found = dict(self._connection.execute(query, (apsw.carray(ids),)))
        return {row: record if isinstance(record, bytes) else b"" for row, record in found.items()}

    def between(self, table: Table, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        """Return the rows with ids from ``first`` to ``last``, in order, at most ``most`` of them."""
        query = f"SELECT id, record FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"  # noqa: S608
        found = self._connection.execute(query, (first, last, most)).fetchall()
        return [(int(row or 0), record if isinstance(record, bytes) else b"") for row, record in found]

    def get(self, table: Table, row: int) -> bytes | None:
        """Return the record of a row, or None."""
        found = self._connection.execute(f"SELECT record FROM {table} WHERE id = ?", (row,)).get  # noqa: S608
        return found if isinstance(found, bytes) else None

    def ids(self, table: Table, first: int, last: int) -> "array[int]":
        """Return the ids from ``first`` to ``last`` that there are."""
        query = f"SELECT id FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608
        return array("q", (int(row or 0) for (row,) in self._connection.execute(query, (first, last))))

    def size(self, table: Table, first: int, last: int) -> int:
        """Return the bytes of the records with ids from ``first`` to ``last``."""
        query = f"SELECT total(length(record)) FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608
        return int(self._connection.execute(query, (first, last)).get or 0)

    def span(self, table: Table) -> int:
        """Return how many rows a table has at most, from its first and last id."""
        query = f"SELECT max(id) - min(id) + 1 FROM {table}"  # noqa: S608
        found = self._connection.execute(query).get
        return found if isinstance(found, int) else 0

    def last(self, table: Table) -> int:
        """Return the highest id of a table, or 0."""
        found = self._connection.execute(f"SELECT max(id) FROM {table}").get  # noqa: S608
        return found if isinstance(found, int) else 0


def disordered(table: Table) -> apsw.CorruptError:
    """Say that a table does not have its rows in order, so that it cannot be used."""
    return apsw.CorruptError(f"the rows of {table} are not in order")


def check_format(connection: apsw.Connection, path: Path) -> int:
    """Return the format of the file, 0 where it is empty; raise StorageUnusable where it is not ours."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
        return 0
    if connection.pragma("application_id") != APPLICATION:
        raise StorageUnusable(f"{path} is not a database of sluice; choose another")
    version: int = connection.pragma("user_version")
    if version > VERSION:
        raise StorageUnusable(
            f"{path} has format {version}, and this version of sluice reads formats up to {VERSION}; "
            "use a newer version"
        )
    return version


def reason(error: Exception, path: Path) -> str:
    """Say in an operator's words what SQLite could not do."""
    if _is_full(error):
        return "the disk is full"
    known: tuple[tuple[type[Exception], str], ...] = (
        (apsw.NotADBError, f"{path} is not a database of sluice; choose another"),
        (apsw.CorruptError, f"{path} is damaged; restore it from a backup"),
        (apsw.ReadOnlyError, f"{path} cannot be written"),
        (apsw.CantOpenError, f"{path} cannot be opened"),
        (apsw.BusyError, f"{path} is in use by another process"),
        (apsw.IOError, f"{path} cannot be read or written: {error}"),
    )
    return next((text for kind, text in known if isinstance(error, kind)), f"{path}: {error}")


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # When the shared-memory file beside the WAL cannot grow, SQLite reports an I/O error.
    shared = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    return shared or isinstance(error, apsw.FullError)
