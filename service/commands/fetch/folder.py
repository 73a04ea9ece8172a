"""``--output DIR``: every body a file under a name that people can open, and what is there is not fetched again."""

import asyncio
import fcntl
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

from service.commands.fetch.index import INDEX, Index, Record, now
from service.commands.fetch.inputs import UrlList
from service.commands.fetch.names import Names
from service.commands.fetch.tree import Occupied, Tree
from service.runtime.threads import ThreadUnavailable, call_in_thread

__all__ = ["Folder", "SavingFailed"]

_TRIES = 8
_EARLIER = re.compile(r".+-[0-9a-f]{16}(\.[A-Za-z0-9]{1,8})?")
"""The names of version 0.1, which had no index."""


class SavingFailed(Exception):
    """The folder cannot be used; the text says why."""


class Folder:
    """A folder that one run saves to at a time. Raises SavingFailed where that cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = Names()
        self._lock = threading.Lock()
        self._own: dict[str, str] = {}
        """Of URLs whose file is not whole, the name that it has."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SavingFailed(f"--output: {path}: {error.strerror}") from None
        try:
            self._open()
        except BaseException:
            os.close(self._root)
            raise

    def _open(self) -> None:
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SavingFailed(f"--output: another run is saving to {self.path}") from None
        self._refuse_earlier()
        try:
            self._tree = Tree(self._root)
            self._index = Index(self._tree.append(INDEX))
        except OSError as error:
            raise SavingFailed(f"--output: {self.path}: {_reason(error)}") from None

    def _refuse_earlier(self) -> None:
        names = os.listdir(self._root)
        if INDEX not in names and any(map(_EARLIER.fullmatch, names)):
            raise SavingFailed(
                f"--output: {self.path} has files of an earlier version, which named them differently: "
                "choose another folder"
            )

    def load(self, urls: UrlList, *, verify: bool) -> dict[int, str]:
        """Return the files that are whole, by the index of the first URL that asks for them.

        Whole is what has the size that the index says; with ``verify`` also its SHA-256.
        """
        whole: dict[int, str] = {}
        for record in self._index.read():
            first = urls.find(record.url)
            if first is None:
                self._names.reserve(record.file)
            elif self._is_whole(record, verify):
                whole[first] = record.file
                self._own.pop(urls.urls[first], None)
            else:
                whole.pop(first, None)
                self._own[urls.urls[first]] = record.file
        self._reserve(whole.values())
        return whole

    def _reserve(self, files: Iterable[str]) -> None:
        for file in files:
            self._names.reserve(file)

    def _is_whole(self, record: Record, verify: bool) -> bool:
        try:
            if self._tree.size(record.file) != record.bytes:
                return False
            return not verify or self._tree.sha256(record.file) == record.sha256
        except (OSError, ValueError):  # it is missing, no file, or no path at all: fetched again
            return False

    def begin_saving(
        self, threads: ThreadPoolExecutor, url: str, origin: str, content_type: str, status: int, body: bytes
    ) -> asyncio.Future[str]:
        """Do as :meth:`save` in a thread; the future has an OSError where none can be started."""
        try:
            return call_in_thread(threads, self.save, url, origin, content_type, status, body)
        except ThreadUnavailable as error:
            unsaved: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            unsaved.set_exception(OSError(str(error)))
            return unsaved

    def save(self, url: str, origin: str, content_type: str, status: int, body: bytes) -> str:
        """Write a body and return the path of its file; blocks, and may run in several threads. Raises OSError."""
        digest = sha256(body).hexdigest()
        own = self._own.get(url)
        for _ in range(_TRIES):
            with self._lock:
                path = self._names.choose(url, origin, content_type, own)
            record = Record(url, path, status, content_type, len(body), digest, now())
            try:
                self._tree.write(path, body, replace=path == own, before=partial(self._index.add, record))
            except Occupied as occupied:
                own = None
                with self._lock:
                    self._names.reserve(occupied.path)
            else:
                return path
        raise FileExistsError(f"no free file name: {path}")

    def close(self) -> None:
        """Bring the index to the disk, and let another run in. Raises OSError."""
        try:
            self._tree.close()
            self._index.close()
        finally:
            os.close(self._root)


def _reason(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
