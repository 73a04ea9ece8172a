"""Reading a database beside the service that writes it, or a backup: nothing in it is ever changed.

Each read sees the database as it was at one moment, and while it lasts the WAL cannot be taken back to its
beginning. So reads are short, or bounded by what the WAL may grow meanwhile (``check_growth``).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import disk_usage
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import apsw

from service.storage.commit_count import COUNT_FILE, unpack_count
from service.storage.directory import DATABASE
from service.storage.errors import StorageUnusable
from service.storage.library import check_library, file_name
from service.storage.records import Damaged, StateRow, read_row
from service.storage.tables import BACKUP_ROW, Rows, Table, check_format, reason

__all__ = ["DatabaseReader", "database_of"]

_BUSY_MS: Final = 5000
_GROWTH: Final = 1 << 30
_SMALL_GROWTH: Final = 64 << 20
"""Bytes that the WAL may grow by during a snapshot; what is small does not fill a disk."""


def database_of(path: Path) -> Path:
    """Return the database of a data directory, or a file as it is; raise StorageUnusable if it does not exist."""
    try:
        if path.is_dir():
            path /= DATABASE
            if not path.exists():
                raise StorageUnusable(f"{path.parent} is not a data directory: it has no {DATABASE}")
        path.stat()
    except OSError as error:
        raise StorageUnusable(f"{path}: {error.strerror}") from error
    if not path.is_file():
        raise StorageUnusable(f"{path} is not a file")
    return path


class DatabaseReader:
    """One connection that only reads; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open it; raise StorageUnusable with one line that says what is wrong."""
        check_library()
        self.path = path
        self._wal_before = 0
        try:
            self.connection = _open(path)
        except apsw.Error as error:
            raise StorageUnusable(reason(error, path)) from error
        self.rows = Rows(self.connection)
        try:
            if not check_format(self.connection, path):
                raise StorageUnusable(f"{path} is empty: it is not a database of sluice")
        except BaseException as error:
            self.connection.close()
            if isinstance(error, apsw.Error):
                raise StorageUnusable(reason(error, path)) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, apsw.Error):
            raise StorageUnusable(reason(error, self.path)) from error

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See the database as it is now until the block ends, which has to call :meth:`check_growth` meanwhile."""
        self._wal_before = self.wal_size()
        self.connection.execute("BEGIN")
        self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def check_growth(self, why: str, advice: str) -> None:
        """Raise StorageUnusable where a snapshot makes the WAL grow too far, with words for an operator."""
        grown, folder = self.wal_size() - self._wal_before, self.path.parent
        if grown > _GROWTH or grown > max(_SMALL_GROWTH, disk_usage(folder).free):
            raise StorageUnusable(f"{why}: the WAL of {folder} has grown by {grown >> 20} MiB meanwhile; {advice}")

    @property
    def version(self) -> int:
        """The version of its format."""
        return int(self.connection.pragma("user_version"))

    @property
    def commits(self) -> int:
        """How many commits it has had; 0 where that is damaged."""
        return self._state(1)

    def counted_commits(self) -> int:
        """Return how many commits were counted beside it, or when the backup was made.

        Ask before the snapshot: a commit is counted when it has been made. A higher number then says that the
        database has lost its last commits.
        """
        counted = None
        if self.path.name == DATABASE:
            with suppress(OSError):  # a copy of the database alone
                counted = unpack_count(self.path.with_name(COUNT_FILE).read_bytes())
        return max(self._state(BACKUP_ROW), counted or 0)

    def _state(self, row: int) -> int:
        try:
            record = self.rows.get(Table.STATE, row)
            return read_row(row, record, StateRow).commits if record is not None else 0
        except (Damaged, apsw.CorruptError):
            return 0

    def wal_size(self) -> int:
        """Return the bytes of its WAL."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:
            return 0


def _open(path: Path) -> apsw.Connection:
    """Open a file for reading, also in a directory where nothing can be written."""
    connection = apsw.Connection(file_name(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(_BUSY_MS)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.IOError):
        # No file can be made beside it, for lack of a permission or of room.
        connection.close()
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            raise StorageUnusable(
                f"{path} has a WAL, and nothing can be written beside it: copy the directory elsewhere, "
                "or run this as the user of the service"
            ) from None
        # Nobody writes it: SQLite needs neither locks nor files beside it.
        name = f"file:{quote(file_name(path))}?immutable=1"
        connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    except BaseException:
        connection.close()
        raise
    return connection
