"""The database file: SQLite in WAL mode, tables of the same shape, one transaction for each group of changes.

A row is an id and a record (``records.py``). There is no other index: messages of all topics are appended to one
table, since an index on topic and offset made appending three to ten times as slow (docs/decisions/16). The
code that trims a topic knows the rows of its messages.

Each transaction also counts itself in the table ``state``, and afterwards in the file ``commits`` beside the
database. A WAL that has lost its end looks to SQLite like one that was never longer: the two counts show
it, and topics then have to begin new epochs, or positions that were given away get other contents.

Groups are bound as arrays (SQLite's carray), so that a group costs a few calls, large or small, and the
interpreter's lock is free while SQLite works.
"""

import logging
import os
from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import apsw

from service.storage.commit_count import COUNT_FILE, COUNT_SIZE, pack_count, unpack_count
from service.storage.damage import DamageLog
from service.storage.errors import CommitFailed, StorageUnusable
from service.storage.library import file_name
from service.storage.migration import migrate
from service.storage.records import Damaged, StateRow, mend, read_row, write_document
from service.storage.tables import VERSION, Rows, Table, check_format, reason

__all__ = ["Database", "RowChanges", "Sync"]

_log = logging.getLogger("sluice.storage")

_BUSY_MS: Final = 2000
_WAL_PAGES: Final = 2000
"""Pages of 4 KiB after which the WAL is copied into the database: 8 MiB."""


class Sync(StrEnum):
    """What a commit waits for."""

    FULL = "full"
    """The disk: it survives a power failure."""
    NORMAL = "normal"
    """The operating system: it survives the death of the process."""


Mark = tuple[int, dict[Table, int], dict[Table, int]]


@dataclass(slots=True)
class RowChanges:
    """What one transaction does: rows to put, and rows to delete."""

    first: int
    """The row that the first message gets."""
    messages: list[bytes] = field(default_factory=list)
    put: "dict[Table, list[tuple[int, bytes]]]" = field(default_factory=dict)
    deleted: "dict[Table, array[int]]" = field(default_factory=dict)

    @property
    def next_row(self) -> int:
        """The row that the next message gets."""
        return self.first + len(self.messages)

    def mark(self) -> "Mark":
        """Return how far these changes go."""
        put, deleted = self.put, self.deleted
        return (
            len(self.messages),
            {table: len(rows) for table, rows in put.items()} if put else {},
            {table: len(rows) for table, rows in deleted.items()} if deleted else {},
        )

    def undo(self, mark: "Mark") -> None:
        """Take back what was added after a mark."""
        messages, put, deleted = mark
        del self.messages[messages:]
        self.put = {table: self.put[table][:count] for table, count in put.items()}
        self.deleted = {table: self.deleted[table][:count] for table, count in deleted.items()}

    def replace(self, table: Table, row: int, record: bytes) -> None:
        """Put a record, whether or not the row is there."""
        self.put.setdefault(table, []).append((row, record))

    def delete(self, table: Table, rows: "array[int]") -> None:
        """Delete rows; those that are not there are passed over."""
        if rows:
            self.deleted.setdefault(table, array("q")).extend(rows)


class Database:
    """One connection; used by one thread at a time."""

    def __init__(self, path: Path, sync: Sync = Sync.FULL) -> None:
        """Open or make it; raise StorageUnusable where it is not a database of ours."""
        self.path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self.next_row = 1
        self.commits = 0
        self.lost_commits = 0
        """How many of the last commits are missing, because the WAL has lost its end."""
        self.damage = DamageLog()
        """Of its records of the state."""
        try:
            self._connection = apsw.Connection(file_name(path))
        except apsw.Error as error:
            raise StorageUnusable(f"--data {path.parent}: {reason(error, path)}") from error
        self.rows = Rows(self._connection)
        try:
            self._prepare(sync)
            self._count_file = os.open(path.with_name(COUNT_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._read_state()
            self._files = {os.fspath(file): _identity(file) for file in (path, self._wal) if file.exists()}
        except BaseException as error:
            self._connection.close()
            if isinstance(error, apsw.Error | OSError):
                raise StorageUnusable(f"--data {path.parent}: {reason(error, path)}") from error
            raise
        if not self.lost_commits:
            # Else the next start, if this one is killed before topics have new epochs, would not know of the loss.
            self._count()

    def __repr__(self) -> str:
        return f"<Database {self.path}>"

    def _prepare(self, sync: Sync) -> None:
        connection = self._connection
        version = check_format(connection, self.path)
        # Others may hold it for a moment: a checkpoint of a reader that closes, an operator's shell.
        connection.set_busy_timeout(_BUSY_MS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", sync.value)
        connection.pragma("wal_autocheckpoint", _WAL_PAGES)
        connection.pragma("journal_size_limit", _WAL_PAGES * 4096)
        if version < VERSION:
            migrate(connection, version)
            if version:
                _log.info("migrated the data directory", extra={"format_before": version, "format": VERSION})

    def _read_state(self) -> None:
        """Read where the database stands, and whether that is where it was."""
        record = self.rows.get(Table.STATE, 1)
        state = StateRow() if record is None else self._state(1, record)
        self.commits = state.commits
        self.next_row = max(state.next_row, self.rows.last(Table.MESSAGES) + 1)
        counted = unpack_count(os.pread(self._count_file, COUNT_SIZE, 0)) or 0
        # Where the state itself cannot be read, nobody knows.
        if self.commits or record is None:
            self.lost_commits = max(0, counted - self.commits)

    def _state(self, row: int, record: bytes) -> StateRow:
        """Return the state, as it was where one bit has flipped; an empty one where more is wrong."""
        try:
            return read_row(row, record, StateRow)
        except Damaged as error:
            self.damage.report(Table.STATE, error)
            mended = mend(row, record)
            return StateRow() if mended is None else read_row(*mended, StateRow)

    def write(self, changes: RowChanges) -> None:
        """Carry out all changes in one transaction, on disk when this returns; raise CommitFailed and do none."""
        try:
            self._check_place()
            self._execute("BEGIN IMMEDIATE")
            self._change(changes)
            self._execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            raise CommitFailed(reason(error, self.path)) from error
        self.next_row = changes.next_row
        self.commits += 1
        self._count()

    def _check_place(self) -> None:
        """Raise CommitFailed where a file is not in its place any more: what is written to it would be lost."""
        for file, before in self._files.items():
            try:
                found = _identity(file)
            except OSError as error:
                raise CommitFailed(f"{file}: {error.strerror}") from error
            if found != before:
                raise CommitFailed(f"{file} was replaced while the service runs; restart it")

    def _roll_back(self) -> None:
        """End a transaction that failed; SQLite has ended it already where the disk is full."""
        if self._connection.in_transaction:
            try:
                self._execute("ROLLBACK")
            except apsw.Error as error:
                raise CommitFailed(f"a transaction could not be rolled back: {error}") from error

    def _count(self) -> None:
        """Write down that there is one more commit; it is stored whether or not this works."""
        try:
            os.pwrite(self._count_file, pack_count(self.commits), 0)
        except OSError as error:
            _log.warning("the number of commits could not be written down", extra={"why": str(error)})

    def _change(self, changes: RowChanges) -> None:
        for table, rows in changes.deleted.items():
            self._execute(f"DELETE FROM {table} WHERE id IN carray(?)", (apsw.carray(rows),))  # noqa: S608
        for table, records in changes.put.items():
            insert = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608
            self._connection.executemany(insert, records)
        if changes.messages:
            records_of = apsw.carray(tuple(changes.messages))
            self._execute(
                "INSERT INTO messages SELECT ? + rowid, value FROM carray(?)", (changes.first - 1, records_of)
            )
        state = {"commits": self.commits + 1, "next_row": changes.next_row}
        self._execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (write_document(1, state),))

    def size(self) -> int:
        """Return the bytes on disk, of the database and of its WAL."""
        return sum(file.stat().st_size for file in (self.path, self._wal) if file.exists())

    def close(self) -> None:
        """Copy the WAL into the database, and close it."""
        self._connection.close()
        os.close(self._count_file)

    def _execute(self, statement: str, bindings: tuple[object, ...] = ()) -> None:
        self._connection.execute(statement, bindings)


def _identity(file: str | Path) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_dev, found.st_ino
