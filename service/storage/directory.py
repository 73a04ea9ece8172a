"""The data directory: made when it is missing, and locked by the one service that uses it."""

from pathlib import Path
from typing import Final

from service.runtime.directories import DirectoryLock
from service.storage.errors import StorageUnusable

__all__ = ["DATABASE", "DataDirectory"]

DATABASE: Final = "sluice.db"


class DataDirectory:
    """A directory that belongs to this process until :meth:`close`, or its end."""

    def __init__(self, path: Path) -> None:
        """Make and lock it; raise StorageUnusable with one line that says what is wrong."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = DirectoryLock(path)
        except OSError as error:
            raise StorageUnusable(f"--data {path}: {error.strerror}") from error

    @property
    def database(self) -> Path:
        """The database file."""
        return self.path / DATABASE

    def close(self) -> None:
        """Let another service use it."""
        self._lock.close()
