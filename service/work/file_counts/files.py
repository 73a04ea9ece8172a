"""The files that are counted: opened one after the other, and cut into parts where they can be."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from service.work.file_counts.decoding import HEAD, compressed
from service.work.file_counts.messages import CountTask
from service.work.file_counts.unreported import Part

__all__ = ["PART", "parts_of", "size_of", "tasks_of"]

PART: Final = 16 << 20
"""Bytes of a plain file that a process is given at once."""


def size_of(names: Sequence[str]) -> int | None:
    """Return how many bytes there are to be read, or None where that is not known; missing files have none."""
    total = 0
    for name in names:
        try:
            found = os.fstat(0) if name == "-" else os.stat(name)
        except OSError:
            continue  # it is reported when it is opened
        if stat.S_ISREG(found.st_mode):
            total += found.st_size
        elif not stat.S_ISDIR(found.st_mode):
            return None
    return total


def parts_of(names: Sequence[str], failed: Callable[[str, str], None], size: int = PART) -> Iterator[Part]:
    """Yield the parts of all files in order; ``failed`` gets the name of one that cannot be opened, and why."""
    for name in names:
        shown = "standard input" if name == "-" else name
        try:
            descriptor = os.dup(0) if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            failed(shown, error.strerror or str(error))
            continue
        try:
            for task in tasks_of(descriptor, size):
                yield Part(shown, task, descriptor)
        except OSError as error:
            failed(shown, error.strerror or str(error))
        finally:
            os.close(descriptor)


def tasks_of(descriptor: int, size: int = PART) -> list[CountTask]:
    """Return what to read of an open file: ranges, where it has lines as they are; raises OSError."""
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # A file of /proc has no size. Where another program has read the beginning of one, no line need begin.
    if not stat.S_ISREG(found.st_mode) or not found.st_size or os.lseek(descriptor, 0, os.SEEK_CUR):
        return [CountTask()]
    if compressed(os.pread(descriptor, HEAD, 0)):
        return [CountTask()]
    return [CountTask(at, min(at + size, found.st_size)) for at in range(0, found.st_size, size)]
