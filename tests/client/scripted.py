"""A service on loopback that does what a test says, frame by frame, and nothing by itself."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson


class Peer:
    """One connection to the scripted service: what a client has sent, and what it is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.head = head
        self.mute = False
        """Whether pings are left without an answer."""

    @property
    def token(self) -> str | None:
        """The token that the client has shown."""
        found = re.search(rb"Authorization: Bearer (\S+)", self.head, re.IGNORECASE)
        return found[1].decode() if found else None

    @property
    def target(self) -> str:
        """The path and query that the client has asked for."""
        return self.head.split()[1].decode()

    def accept(self) -> None:
        """Upgrade."""
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.head, re.IGNORECASE)
        assert key
        digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: sluice.v1\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )

    def answer(self, status: int) -> None:
        """Answer something else than an upgrade."""
        self.writer.write(b"HTTP/1.1 %d Unexpected\r\nContent-Length: 0\r\n\r\n" % status)

    def send(self, text: str | dict[str, Any]) -> None:
        """Send a text frame: a text as it is, or a JSON-RPC object."""
        if isinstance(text, dict):
            text = orjson.dumps({"jsonrpc": "2.0", **text}).decode()
        self._frame(0x81, text.encode())

    def close(self, code: int, reason: str = "") -> None:
        """End the connection with a code."""
        self._frame(0x88, code.to_bytes(2, "big") + reason.encode())
        self.writer.close()

    def cut(self) -> None:
        """End it without one."""
        self.writer.transport.abort()

    def _frame(self, first: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
        self.writer.write(bytes([first]) + head + payload)

    async def ended(self) -> None:
        """Return when the client has closed its socket."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass

    async def receive(self) -> Any:
        """Return the next request of the client; raises ConnectionError at the end."""
        while True:
            first, size = await self._exactly(2)
            size &= 127
            if size > 125:
                size = int.from_bytes(await self._exactly(2 if size == 126 else 8), "big")
            mask = await self._exactly(4)
            payload = bytes(byte ^ mask[number % 4] for number, byte in enumerate(await self._exactly(size)))
            if first == 0x81:
                return orjson.loads(payload)
            if first == 0x89 and not self.mute:
                self._frame(0x8A, payload)
            if first == 0x88:
                raise ConnectionResetError("the client has closed")

    async def _exactly(self, count: int) -> bytes:
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the client has gone") from error


class Scripted:
    """Takes connections, and keeps them until a test looks at them."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self.waiting: asyncio.Queue[Peer] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        peer = Peer(reader, writer, head)
        self.peers.append(peer)
        self.waiting.put_nowait(peer)

    async def end(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """Run one until the block ends."""
    service = Scripted()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        await service.end()
