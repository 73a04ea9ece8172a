"""A name server on loopback for tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["name_server"]


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, address: str | None, code: int) -> None:
        self._answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address) if address is not None else b""
        self._code = code
        self._known: dict[bytes, float] = {}

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        end, loop = data.index(b"\0", 12) + 5, asyncio.get_running_loop()
        question = data[12:end].lower()
        known = self._known.setdefault(question, loop.time() + (b"slow" in question))
        found = self._answer if question[-4:-2] == b"\0\1" else b""
        head = data[:2] + bytes([0x81, 0x80 | self._code]) + b"\0\1\0" + bytes([bool(found), 0, 0, 0, 0])
        loop.call_at(known, self._transport.sendto, head + data[12:end] + found, address)


@asynccontextmanager
async def name_server(
    address: str | None = None, *, code: int = 0, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Run a name server, and yield where it is; names that contain ``slow`` take it a second.

    Each question for an IPv4 address is answered with ``address``, where there is one, and each other one with
    nothing; ``code`` is why.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(address, code), (host, port))
    try:
        yield f"{host}:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
