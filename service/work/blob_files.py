"""Blobs on disk: a directory of files ``ab/ab12....TYPE~KEEPER``, and ``new/`` for those that are being written.

The keeper is a hash of the client whose request brought the blob; names from older versions do not have it.

Everything here blocks, and is called in threads.
"""

import contextlib
import itertools
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from service.runtime.directories import DirectoryLock, sync_directory
from service.runtime.whole_files import temporary_file

__all__ = ["DEFAULT_TYPE", "Blob", "BlobFiles"]

DEFAULT_TYPE: Final = "application/octet-stream"
"""Of a body whose type is not known (RFC 9110, section 8.3)."""
_FOLDERS: Final = frozenset(f"{number:02x}" for number in range(256))
_NAME: Final = re.compile(r"([0-9a-f]{64})\.([A-Za-z0-9%!#$&^_.+-]{3,150})(?:~([0-9a-f]{16}))?")
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
"""A media type as it may be registered (RFC 6838, section 4.2)."""


class Blob(NamedTuple):
    """A file that is whole."""

    sha256: str
    size: int
    type: str
    """Its media type without parameters."""
    path: Path
    keeper: str = ""
    """A hash of the client in whose share it counts."""


class BlobFiles:
    """The files of a directory that is locked by this process until :meth:`close`."""

    def __init__(self, directory: Path) -> None:
        """Make and lock the directory; raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._new = directory / "new"
        self._numbers = itertools.count()
        self._restoring = threading.Lock()
        self._lock = DirectoryLock(directory)
        try:
            self._unfinished = self._open_folders()
        except BaseException:
            self._lock.close()
            raise

    def _open_folders(self) -> int:
        """Make all folders at once, as none has to reach the disk together with its first file; open ``new/``."""
        names = {"new", *_FOLDERS} - set(os.listdir(self._directory))
        for name in names:
            (self._directory / name).mkdir(mode=0o700)
        if names:
            sync_directory(self._directory)
        return os.open(self._new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _restore(self) -> None:
        """Make the folders again that were removed while they were in use; raises OSError."""
        with self._restoring:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._lock.lost:
                lost, self._lock = self._lock, DirectoryLock(self._directory)
                lost.close()
            opened = self._open_folders()
            os.dup2(opened, self._unfinished, inheritable=False)  # other threads have the number
            os.close(opened)

    def scan(self) -> list[Blob]:
        """Remove what is left over from a kill, and return all blobs, the longest unused first."""
        for path in self._new.iterdir():
            if not path.is_dir():
                path.unlink()
        found = sorted(self._entries(), key=lambda entry: entry[0])
        blobs: dict[str, Blob] = {}
        for _, blob in found:
            if (older := blobs.pop(blob.sha256, None)) is not None:
                older.path.unlink()
            blobs[blob.sha256] = blob
        return list(blobs.values())

    def _entries(self) -> Iterator[tuple[float, Blob]]:
        for folder in self._directory.iterdir():
            if folder.name not in _FOLDERS or not folder.is_dir():
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if (match := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                        facts = entry.stat(follow_symlinks=False)
                        blob = Blob(match[1], facts.st_size, unquote(match[2]), Path(entry.path), match[3] or "")
                        yield facts.st_atime, blob

    def write(self, sha256: str, data: bytes | memoryview, content_type: str, keeper: str) -> Blob:
        """Write a file, and return when it is on disk under its name; raises OSError, and then nothing is left."""
        try:
            return self._write(sha256, data, content_type, keeper)
        except FileNotFoundError:
            self._restore()  # somebody has emptied the directory
            return self._write(sha256, data, content_type, keeper)

    def _write(self, sha256: str, data: bytes | memoryview, content_type: str, keeper: str) -> Blob:
        kind = content_type if _TYPE.fullmatch(content_type) else DEFAULT_TYPE
        folder = self._directory / sha256[:2]
        path = folder / f"{sha256}.{quote(kind, safe='+')}~{keeper}"
        temporary = str(next(self._numbers))
        with temporary_file(self._unfinished, temporary, data, mode=0o600, sync=True):
            os.rename(temporary, path, src_dir_fd=self._unfinished)
        sync_directory(folder)
        return Blob(sha256, len(data), kind, path, keeper)

    def has(self, blob: Blob) -> bool:
        """Return whether the file of a blob is there and has its full size."""
        try:
            return blob.path.stat().st_size == blob.size
        except OSError:
            return False

    def touch(self, blob: Blob) -> None:
        """Record the use of a blob in its file's access time; the modification time is part of its ETag."""
        with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
            os.utime(blob.path, ns=(time.time_ns(), blob.path.stat().st_mtime_ns))

    def remove(self, blob: Blob) -> None:
        """Remove a blob; raises OSError."""
        blob.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process use the directory."""
        os.close(self._unfinished)
        self._lock.close()
