"""The data directory: made when it is missing, and locked by the one service that uses it."""

import fcntl
import os
from pathlib import Path
from typing import Final

from service.storage.errors import StorageUnusable

__all__ = ["DATABASE", "LOCK", "DataDirectory"]

DATABASE: Final = "sluice.db"
LOCK: Final = "lock"


class DataDirectory:
    """A directory that belongs to this process until :meth:`close`, or its end."""

    def __init__(self, path: Path) -> None:
        """Make and lock it; raise StorageUnusable with one line that says what is wrong."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageUnusable(f"--data {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StorageUnusable(f"--data {path}: another service uses this directory") from error

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / DATABASE

    def close(self) -> None:
        """Let another service use it."""
        os.close(self._lock)
