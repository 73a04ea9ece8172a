"""Files that are whole when they have their name: written under a temporary one first."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["temporary_file", "write_all"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def temporary_file(folder: int, name: str, body: bytes | memoryview, *, mode: int, sync: bool) -> Iterator[None]:
    """Write a file below an open folder; the block renames it. Where anything fails it is removed.

    With ``sync`` its bytes are on the disk before the block begins: so a power failure leaves no other under its
    final name either.
    """
    descriptor = os.open(name, _NEW, mode, dir_fd=folder)
    try:
        try:
            write_all(descriptor, body)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all bytes; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
