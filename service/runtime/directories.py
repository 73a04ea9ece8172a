"""Directories of files that have to last: locked for the one process that uses them, their names synced."""

import fcntl
import os
from pathlib import Path
from typing import Final

__all__ = ["LOCK", "DirectoryInUse", "DirectoryLock", "sync_directory"]

LOCK: Final = "lock"
"""The name of the file that is locked."""


class DirectoryInUse(OSError):
    """Another process has the lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(None, "another service uses this directory", str(path))


class DirectoryLock:
    """The file :data:`LOCK` of a directory, held until :meth:`close` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Take the lock; raises DirectoryInUse, or another OSError where the file cannot be made."""
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise DirectoryInUse(directory) from error

    @property
    def lost(self) -> bool:
        """Whether the file was removed, so that another process can lock the directory."""
        return not os.fstat(self._descriptor).st_nlink

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory reach the disk; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
