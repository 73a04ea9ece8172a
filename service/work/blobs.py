"""Blobs: bodies kept as files under their SHA-256, once each, within a bound; the oldest unused ones give way.

Theory of operation. A body is written under a temporary name in ``new/``, synced, and renamed to
``ab/ab12...TYPE``; then its directory is synced. So a file under its final name is whole, whenever the process or
the machine stops, and what stands in ``new/`` at a start is left over and removed. What is kept is known in memory,
in the order in which it was used; that order outlives a restart by the files' times of modification.

All state is changed on the loop; threads only hash, write, and remove.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from service.core.errors import StorageFailed, TooLarge
from service.work.blob_files import Blob, BlobFiles

__all__ = ["Blobs", "BlobsStatistics"]

_log = logging.getLogger("sluice.blobs")

_THREADS: Final = 8
"""Writers at once: each waits for the disk most of its time."""
_REMEMBER: Final = 60.0
"""Seconds between two notes on disk that a blob was used."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BlobsStatistics:
    """A snapshot: what is kept now, in bytes and files, and totals since the start."""

    bound: int
    size: int
    count: int
    saved: int
    evicted: int


class Blobs:
    """The blobs of one directory, which belongs to this process until :meth:`close`; made by :meth:`open`."""

    def __init__(self, files: BlobFiles, bound: int, threads: ThreadPoolExecutor, kept: list[Blob]) -> None:
        self._files = files
        self._bound = bound
        self._threads = threads
        self._kept = OrderedDict((blob.sha256, blob) for blob in kept)
        self._size = sum(blob.size for blob in kept)
        self._noted: dict[str, float] = {}
        """When the use of a blob was noted on disk."""
        self._saving: dict[str, asyncio.Future[Blob]] = {}
        self._saved = self._evicted = 0

    def __repr__(self) -> str:
        return f"<Blobs {len(self._kept)} of {self._size} bytes, at most {self._bound}>"

    @classmethod
    async def open(cls, path: Path, bound: int) -> "Blobs":
        """Lock the directory, remove what is left over, and see what is kept; raises OSError."""
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")
        try:
            files = await asyncio.get_running_loop().run_in_executor(threads, BlobFiles, path)
            try:
                kept = await asyncio.get_running_loop().run_in_executor(threads, files.scan)
            except BaseException:
                files.close()
                raise
        except BaseException:
            threads.shutdown(wait=False)
            raise
        blobs = cls(files, bound, threads, kept)
        await blobs._make_room(0)
        return blobs

    def statistics(self) -> BlobsStatistics:
        """Return an immutable snapshot."""
        return BlobsStatistics(self._bound, self._size, len(self._kept), self._saved, self._evicted)

    def find(self, sha256: str) -> Blob | None:
        """Return a blob and count it as used; None if it is not kept."""
        blob = self._kept.get(sha256)
        if blob is not None:
            self._kept.move_to_end(sha256)
            now = time.monotonic()
            if now - self._noted.get(sha256, float("-inf")) >= _REMEMBER:
                self._noted[sha256] = now
                self._threads.submit(self._files.touch, blob)
        return blob

    async def save(self, data: bytes, content_type: str) -> Blob:
        """Keep a body and return its blob, once it is on disk; one that is kept already keeps its type.

        Raises TooLarge for one that is larger than all blobs may be together, and StorageFailed.
        """
        if len(data) > self._bound:
            raise TooLarge(f"limit blobs: {len(data)} bytes of at most {self._bound} that all blobs may have")
        sha256 = await self._in_thread(_sha256, data)
        if (blob := self.find(sha256)) is not None:
            return blob
        saving = self._saving.get(sha256)
        if saving is None:
            saving = self._saving[sha256] = asyncio.create_task(
                self._write(sha256, data, content_type), name=f"blob {sha256[:8]}"
            )
            saving.add_done_callback(lambda _: self._saving.pop(sha256))
        # Others may wait for the same file: it is written though this one gives up.
        return await asyncio.shield(saving)

    async def _write(self, sha256: str, data: bytes, content_type: str) -> Blob:
        await self._make_room(len(data))
        try:
            blob = await self._in_thread(self._files.write, sha256, data, content_type)
        except OSError as error:
            raise StorageFailed(f"storage: {error.strerror or error}") from error
        self._kept[sha256] = blob
        self._size += blob.size
        self._saved += 1
        await self._make_room(0)  # others may have written meanwhile
        return blob

    async def _make_room(self, size: int) -> None:
        """Remove the blobs that have not been used for longest until one of so many bytes fits."""
        gone = []
        while self._kept and self._size + size > self._bound:
            _, blob = self._kept.popitem(last=False)
            self._noted.pop(blob.sha256, None)
            self._size -= blob.size
            self._evicted += 1
            gone.append(blob)
        if gone:
            await self._in_thread(self._remove, gone)

    def _remove(self, gone: list[Blob]) -> None:
        for blob in gone:
            try:
                self._files.remove(blob)
            except OSError as error:
                _log.warning("a blob was not removed", extra={"sha256": blob.sha256, "why": error.strerror})

    async def _in_thread(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def close(self) -> None:
        """Finish what is being written, and give the directory back."""
        if self._saving:
            await asyncio.wait(self._saving.values())
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._files.close()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
