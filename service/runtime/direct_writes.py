"""A socket past its transport: a write takes a microsecond less, and a broken connection is read to its end."""

import asyncio
import os

__all__ = ["read_rest", "write_now"]


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


def read_rest(transport: asyncio.BaseTransport, most: int) -> bytes:
    """Return what the kernel still has of a connection that broke, at most so many bytes; nothing of TLS.

    A transport whose write fails reads nothing more, although its peer may have sent all of it before it left.
    """
    if transport.get_extra_info("sslcontext") is not None:
        return b""
    try:
        return os.read(transport.get_extra_info("socket").fileno(), most)
    except OSError:
        return b""
