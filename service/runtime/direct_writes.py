"""Writing to a socket past its transport, which takes a microsecond more for the same system call."""

import os

__all__ = ["write_now"]


def write_now(descriptor: int, data: bytes) -> bytes | memoryview:
    """Give the kernel what it takes at once, and return the rest: a view, so that many can wait for one.

    The transport must be open (a descriptor that it has closed may be another connection's by now) and hold nothing
    that has to be written before.
    """
    try:
        sent = os.write(descriptor, data)
    except OSError:
        # No room, or a broken connection: the transport waits for the one and reports the other.
        return data
    return b"" if sent == len(data) else memoryview(data)[sent:]
