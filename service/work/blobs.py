"""Blobs: bodies kept as files under their SHA-256, once each, within bounds of bytes and files that owners share.

When a bound is reached, the longest unused blobs of the owner whose requests brought most of what is kept are
removed: an owner that floods the store loses only its own.

Theory of operation. A body is written under a temporary name in ``new/``, synced, and renamed to
``ab/ab12...TYPE~KEEPER``; then its directory is synced. So a file under its final name is whole, whenever the
process or the machine stops, and what stands in ``new/`` at a start is left over and removed. What is kept is known
in memory, in the order in which it was used; that order outlives a restart by the files' times of access.

Bodies are saved in threads, each in one go: hashed, looked up, and written. A lock is held while memory is
read and changed, never while a thread waits for the disk. A thread that saves a body that another one is writing
waits for that one.
"""

import asyncio
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.core.errors import StorageFailed, TooLarge
from service.core.occurrences import Occurrences
from service.core.owner import SERVICE, Owner
from service.core.pool import Pool, PoolStatistics
from service.runtime.threads import started_thread
from service.work.blob_files import Blob, BlobFiles

__all__ = ["Blobs", "BlobsStatistics"]

_log = logging.getLogger("sluice.blobs")

_BYTES_EACH: Final = 64 << 10
"""Bytes of the bound for which one blob may be kept: each takes an inode, and 1 KiB of memory."""
_FEWEST: Final = 1000
"""Blobs that may be kept however low the bound of bytes is."""
_REMEMBER: Final = 60.0
"""Seconds between two notes on disk that a blob was used."""


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

    def __init__(self, files: BlobFiles, bound: int, kept: list[Blob]) -> None:
        self._files = files
        self._pool = Pool("blobs_size", bound)
        self._count = Pool("blobs", max(_FEWEST, bound // _BYTES_EACH))
        self._lock = threading.Lock()
        self._kept: dict[str, Blob] = {}
        self._of: dict[Owner, OrderedDict[str, Blob]] = {}
        """The blobs of each keeper, the longest unused first."""
        for blob in kept:
            self._keep(blob)
        self._noted: dict[str, float] = {}
        """When the use of a blob was noted on disk."""
        self._notes = started_thread("blobs")
        self._writing: dict[str, Future[Blob]] = {}
        self._closed = False
        self._saved = 0
        self._failures = Occurrences(time.monotonic)

    def __repr__(self) -> str:
        return f"<Blobs {len(self._kept)} of {self._pool.used} bytes, at most {self._pool.bound}>"

    @classmethod
    async def open(cls, path: Path, bound: int) -> "Blobs":
        """Lock the directory, remove what is left over, and see what is kept; raises OSError."""
        return await asyncio.to_thread(cls._opened, path, bound)

    @classmethod
    def _opened(cls, path: Path, bound: int) -> "Blobs":
        files = BlobFiles(path)
        try:
            blobs = cls(files, bound, files.scan())
            with blobs._lock:
                gone = blobs._oldest()
            blobs._remove(gone)
        except BaseException:
            files.close()
            raise
        return blobs

    def statistics(self) -> BlobsStatistics:
        """Return an immutable snapshot."""
        with self._lock:
            evicted = self._pool.refused + self._count.refused
            return BlobsStatistics(self._pool.bound, self._pool.used, len(self._kept), self._saved, evicted)

    def shares(self) -> tuple[PoolStatistics, PoolStatistics]:
        """Return snapshots of the shares that owners have of the bytes and of the number of blobs."""
        with self._lock:
            return self._pool.statistics(), self._count.statistics()

    def find(self, sha256: str) -> Blob | None:
        """Return a blob and count it as used; None if it is not kept. This reads the disk: call it in a thread."""
        with self._lock:
            blob = self._find(sha256)
        if blob is None or self._files.has(blob):
            return blob
        self._forget(blob)
        return None

    def _forget(self, blob: Blob) -> None:
        """Forget a blob whose file was removed or truncated from outside: the next such body is saved again."""
        _log.warning("a blob is not as it was saved", extra={"sha256": blob.sha256})
        with self._lock:
            if self._kept.get(blob.sha256) is blob:
                self._give_up(blob)
                self._remove([blob])  # under the lock, so that nobody writes it again before

    def _find(self, sha256: str) -> Blob | None:
        blob = self._kept.get(sha256)
        if blob is not None:
            self._of[Owner(blob.keeper)].move_to_end(sha256)
            now = time.monotonic()
            if now - self._noted.get(sha256, float("-inf")) >= _REMEMBER:
                self._noted[sha256] = now
                self._notes.submit(self._files.touch, blob)
        return blob

    def save(self, data: bytes | memoryview, content_type: str, owner: Owner = SERVICE) -> Blob:
        """Keep a body for an owner and return its blob, once it is on disk; a kept blob stays as it is.

        This waits for the disk: call it in a thread. Raises StorageFailed, and TooLarge for a body that is larger
        than all blobs together may be.
        """
        if len(data) > self._pool.bound:
            raise TooLarge(f"limit blobs: {len(data)} bytes of at most {self._pool.bound} that all blobs may have")
        sha256 = hashlib.sha256(data).hexdigest()
        if (kept := self.find(sha256)) is not None:
            return kept
        with self._lock:
            if (kept := self._kept.get(sha256)) is not None:
                return kept
            if self._closed:
                raise StorageFailed("storage: the service is shutting down")
            other = self._writing.get(sha256)
            if other is None:
                written = self._writing[sha256] = Future[Blob]()
                gone = self._oldest(len(data))
        if other is not None:
            return other.result()
        try:
            self._remove(gone)
            blob = self._write(sha256, data, content_type, _keeper(owner))
        except BaseException as error:
            with self._lock:
                self._writing.pop(sha256, None)
            written.set_exception(error)
            raise
        written.set_result(blob)
        return blob

    def _write(self, sha256: str, data: bytes | memoryview, content_type: str, keeper: str) -> Blob:
        try:
            blob = self._files.write(sha256, data, content_type, keeper)
        except OSError as error:
            why = error.strerror or str(error)
            with self._lock:
                count = self._failures.happened()
            if count:
                _log.error("a blob was not saved", extra={"why": why, "count": count})
            raise StorageFailed(f"storage: {why}") from error
        with self._lock:
            self._keep(blob)
            self._saved += 1
            del self._writing[sha256]
            gone = self._oldest()  # others may have written meanwhile
        self._remove(gone)
        return blob

    def _keep(self, blob: Blob) -> None:
        keeper = Owner(blob.keeper)
        self._kept[blob.sha256] = blob
        self._of.setdefault(keeper, OrderedDict())[blob.sha256] = blob
        self._pool.charge(keeper, blob.size)
        self._count.charge(keeper, 1)

    def _give_up(self, blob: Blob) -> None:
        keeper = Owner(blob.keeper)
        del self._of[keeper][blob.sha256]
        if not self._of[keeper]:
            del self._of[keeper]
        del self._kept[blob.sha256]
        self._noted.pop(blob.sha256, None)
        self._pool.release(keeper, blob.size)
        self._count.release(keeper, 1)

    def _oldest(self, *new: int) -> list[Blob]:
        """Forget the longest unused of the owner that keeps most until blobs of these sizes fit; return them."""
        gone = []
        while (full := self._full(new)) is not None and (keeper := full.largest()) is not None:
            blob = next(iter(self._of[keeper].values()))
            self._give_up(blob)
            full.refused += 1
            gone.append(blob)
        return gone

    def _full(self, new: Sequence[int]) -> Pool | None:
        """Return a pool that has no room for blobs of these sizes, if there is one."""
        if self._pool.used + sum(new) > self._pool.bound:
            return self._pool
        return self._count if self._count.used + len(new) > self._count.bound else None

    def _remove(self, gone: list[Blob]) -> None:
        for blob in gone:
            try:
                self._files.remove(blob)
            except OSError as error:
                _log.warning("a blob was not removed", extra={"sha256": blob.sha256, "why": error.strerror})

    async def close(self) -> None:
        """Finish what is being written, begin no more, and give the directory back."""
        with self._lock:
            self._closed = True
            writing = list(self._writing.values())
        await asyncio.to_thread(wait, writing)
        await asyncio.to_thread(self._notes.shutdown)
        self._files.close()


def _keeper(owner: Owner) -> str:
    """Return a hash that stands for an owner on disk, where the owner's name must not be readable."""
    return hashlib.blake2b(owner.encode(errors="surrogatepass"), digest_size=8).hexdigest()
