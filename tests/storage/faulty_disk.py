"""A disk that is slow, full or broken: SQLite's own files, through a layer of its virtual file system."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import apsw

__all__ = ["FaultyDisk", "faulty_disk"]


class FaultyDisk:
    """What goes wrong with the files that are opened while it is the default."""

    def __init__(self) -> None:
        self.delay = 0.0
        """Seconds that a sync takes."""
        self.room: int | None = None
        """Bytes by which files may still grow."""
        self.broken = False
        """Whether writes and syncs fail."""
        self.going = Event()
        """Syncs wait until it is set."""
        self.going.set()
        self.syncs = 0

    def write(self, size: int, growth: int) -> None:
        """Record a write, or raise what a disk says to it."""
        if self.broken:
            raise apsw.IOError("the disk is broken")
        if self.room is not None and growth > 0:
            if growth > self.room:
                raise apsw.FullError("the disk is full")
            self.room -= growth

    def sync(self) -> None:
        """Take as long as a sync takes."""
        self.syncs += 1
        assert self.going.wait(30)
        if self.delay:
            time.sleep(self.delay)  # in the storage's thread, as a disk would
        if self.broken:
            raise apsw.IOError("the disk is broken")


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: Any) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.write(len(data), offset + len(data) - self.xFileSize())
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._disk.sync()
        super().xSync(flags)


class _Files(apsw.VFS):
    def __init__(self, disk: FaultyDisk) -> None:
        super().__init__("faulty", "unix", makedefault=True)
        self._disk = disk

    def xOpen(self, name: Any, flags: Any) -> Any:
        return _File(self._disk, name, flags)


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    """Have databases that are opened in the block on a disk that can be made faulty."""
    disk = FaultyDisk()
    files = _Files(disk)
    try:
        yield disk
    finally:
        disk.going.set()
        apsw.set_default_vfs("unix")
        files.unregister()
