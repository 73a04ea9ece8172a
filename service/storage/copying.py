"""Backups: a database copied into one file while a service writes it, and a data directory made of such a file.

All pages are those of one moment. While they are copied the service goes on, and its WAL grows by what it writes: a
copy that would make it grow too far is given up. A file gets its name when all of it is on the disk.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from service.runtime.directories import LOCK, sync_directory
from service.storage.commit_count import COUNT_FILE, pack_count
from service.storage.directory import DATABASE, DataDirectory
from service.storage.errors import StorageUnusable
from service.storage.library import file_name
from service.storage.reader import DatabaseReader
from service.storage.records import write_document
from service.storage.tables import BACKUP_ROW, Table, reason

__all__ = ["back_up", "restore"]

CopyProgress = Callable[[int, int], None]
"""Called with the bytes that are done, and all of them."""

_PAGES: Final = 1024
"""Pages that are copied in one step: 4 MiB."""
_PARTIAL: Final = ".partial"


def back_up(source: DatabaseReader, target: Path, progress: CopyProgress, *, replace: bool) -> None:
    """Copy a database into a file; raise StorageUnusable and leave nothing behind where that fails."""
    target = Path(os.path.realpath(target))
    _check_target(source, target, replace=replace)
    counted = source.counted_commits()
    with _new_file(target) as (partial, descriptor):
        _copy(source, partial, progress, state={BACKUP_ROW: max(counted, source.commits)})
        os.fsync(descriptor)
        if not replace and target.exists():
            raise StorageUnusable(f"{target} exists; choose another name, or give --force")
        partial.rename(target)
    sync_directory(target.parent)


def restore(
    source: DatabaseReader,
    target: Path,
    progress: CopyProgress,
    verify: Callable[[Path], None],
    *,
    new_epochs: bool,
) -> None:
    """Make a data directory of a backup; ``verify`` raises StorageUnusable where the copy is not to be used."""
    _check_empty(target)
    made = not target.exists()
    directory = DataDirectory(target)
    try:
        commits = max(source.counted_commits(), source.commits) + new_epochs
        with _new_file(directory.database) as (partial, descriptor):
            _copy(source, partial, progress, state={BACKUP_ROW: None})
            os.fsync(descriptor)
            verify(partial)
            # A service that finds more commits counted than there are begins new epochs.
            _write_count(target, commits)
            partial.rename(directory.database)
        sync_directory(target)
    except BaseException:
        _remove(target, made=made)
        raise
    finally:
        directory.close()


def _check_target(source: DatabaseReader, target: Path, *, replace: bool) -> None:
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise StorageUnusable(f"{target}: {error.strerror}") from error
    if found is not None and not stat.S_ISREG(found):
        raise StorageUnusable(f"{target} is not a file; name the file that the backup is to be")
    if not target.parent.is_dir():
        raise StorageUnusable(f"{target.parent} is not a directory; make it first")
    if target.parent == Path(os.path.realpath(source.path.parent)):
        raise StorageUnusable(f"{target} is in the data directory; choose a place outside of it")
    if found is not None and not replace:
        raise StorageUnusable(f"{target} exists; choose another name, or give --force")


def _check_empty(target: Path) -> None:
    """Raise StorageUnusable if the directory has anything but the remains of a restore that was killed."""
    ours = {LOCK, COUNT_FILE, *_partial_names(DATABASE)}
    try:
        others = sorted(set(os.listdir(target)) - ours)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageUnusable(f"--data {target}: {error.strerror}") from error
    if others:
        raise StorageUnusable(f"--data {target} is not empty: it has {others[0]}; choose another directory")


@contextmanager
def _new_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Yield an empty file with its descriptor that is to become ``target``; it is removed where that fails."""
    partial = target.with_name(target.name + _PARTIAL)
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageUnusable(f"{partial}: {error.strerror}") from error
    try:
        _lock(partial, descriptor)
        try:
            yield partial, descriptor
        except BaseException:
            for name in _partial_names(target.name):
                target.with_name(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageUnusable(f"{target}: {error.strerror}") from error
    finally:
        # Not before: to close a file ends all locks that the process has on it, SQLite's too.
        os.close(descriptor)


def _lock(partial: Path, descriptor: int) -> None:
    """Lock the file against other processes, and empty it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageUnusable(f"{partial} is being written by another process; wait for its end") from None
    os.ftruncate(descriptor, 0)


def _partial_names(name: str) -> list[str]:
    return [f"{name}{_PARTIAL}{more}" for more in ("", "-wal", "-shm", "-journal")]


def _copy(source: DatabaseReader, partial: Path, progress: CopyProgress, state: dict[int, int | None]) -> None:
    """Copy all pages of one moment, and set rows of the table ``state``: counts of commits, or None for no row."""
    try:
        target = apsw.Connection(file_name(partial))
        try:
            # Nobody needs a copy that is cut short: it is synced as a whole.
            target.pragma("synchronous", "off")
            target.pragma("journal_mode", "off")
            with source.snapshot():
                _copy_pages(source, target, partial, progress)
            # One file that can be read anywhere, without a WAL.
            target.pragma("journal_mode", "delete")
            for row, commits in state.items():
                _put_count(target, row, commits)
        finally:
            target.close()
    except apsw.Error as error:
        where = partial.with_name(partial.name.removesuffix(_PARTIAL))
        raise StorageUnusable(f"cannot copy {source.path} to {where}: {reason(error, where)}") from error


def _put_count(target: apsw.Connection, row: int, commits: int | None) -> None:
    if commits is None:
        target.execute(f"DELETE FROM {Table.STATE} WHERE id = ?", (row,))  # noqa: S608
    else:
        record = write_document(row, {"commits": commits})
        target.execute(f"INSERT OR REPLACE INTO {Table.STATE} VALUES (?, ?)", (row, record))  # noqa: S608


def _copy_pages(source: DatabaseReader, target: apsw.Connection, partial: Path, progress: CopyProgress) -> None:
    size = int(source.connection.pragma("page_size"))
    with target.backup("main", source.connection, "main") as backup:
        while not backup.done:
            backup.step(_PAGES)
            progress((backup.page_count - backup.remaining) * size, backup.page_count * size)
            source.check_growth(f"{partial.parent} is too slow", "back up to a faster disk")


def _write_count(directory: Path, commits: int) -> None:
    descriptor = os.open(directory / COUNT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, pack_count(commits))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(directory: Path, *, made: bool) -> None:
    """Take back what a restore has made."""
    for name in (COUNT_FILE, LOCK):
        (directory / name).unlink(missing_ok=True)
    if made:
        with suppress(OSError):  # somebody else has put something there
            directory.rmdir()
