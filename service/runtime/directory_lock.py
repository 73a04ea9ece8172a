"""A lock that keeps two processes from using one directory."""

import fcntl
import os
from pathlib import Path

__all__ = ["DirectoryInUse", "DirectoryLock"]


class DirectoryInUse(OSError):
    """Another process has the lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(None, "another service uses this directory", str(path))


class DirectoryLock:
    """The file ``lock`` of a directory, held until :meth:`close` or the end of the process, however that comes."""

    def __init__(self, directory: Path) -> None:
        """Take the lock; raises DirectoryInUse, or another OSError where the file cannot be made."""
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise DirectoryInUse(directory) from error

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)
