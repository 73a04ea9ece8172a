"""What a worker process is asked, and what it answers: one datagram each way, the bytes beside it in a memory file.

A file without a name (memfd_create(2)) goes with the datagram as a descriptor. So a body of any
size is copied once, and nothing is left behind when a process is killed.
"""

import fcntl
import mmap
import os
import socket
from collections.abc import Sequence
from typing import Final

import msgspec

from service.runtime.whole_files import write_all

__all__ = ["LONGEST", "Errand", "ErrandResult", "MemoryFile", "pack", "receive", "send", "unpack"]

LONGEST: Final = 128 << 10
"""Bytes of a datagram, which has what clients write: it is below what a socket of Linux takes at once."""


MemoryFile = mmap.mmap | bytes
"""The bytes of a memory file: slices are copies, those of a memoryview are not."""


class Errand(msgspec.Struct, frozen=True):
    """A step, to be carried out on the bytes that come with it."""

    step: str
    parameters: msgspec.Raw
    type: str | None
    url: str


class ErrandResult(msgspec.Struct, frozen=True):
    """The outcome of it: the bytes with it are ``fields`` of JSON, then those of a tally, then the product."""

    fields: int = 0
    tally: int = 0
    type: str | None = None
    """Of the product; None if the step made none."""
    failed: str | None = None
    """Why the step cannot process the body."""
    broken: str | None = None
    """What went wrong in the step itself."""
    took: float = 0.0
    """Seconds that the step ran."""


def pack(parts: Sequence[bytes | memoryview]) -> int:
    """Return the descriptor of a memory file with these bytes; raises OSError."""
    descriptor = os.memfd_create("sluice", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for part in parts:
            write_all(descriptor, part)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unpack(descriptor: int) -> MemoryFile:
    """Return the bytes of a memory file without copying them, and close its descriptor; raises OSError.

    It is sealed: to read what the other process has cut off would end this one.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        size = os.fstat(descriptor).st_size
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
    finally:
        os.close(descriptor)


def send(connection: socket.socket, message: msgspec.Struct, descriptor: int) -> None:
    """Send a datagram with a descriptor; raises OSError."""
    socket.send_fds(connection, [msgspec.json.encode(message)], [descriptor])


def receive(connection: socket.socket) -> tuple[bytes, int]:
    """Return a datagram and the descriptor with it; nothing and -1 where the other end has gone."""
    datagram, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 1)
    return datagram, descriptors[0] if descriptors else -1
