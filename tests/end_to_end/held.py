"""An upstream inside the test's own loop, whose answers wait until the test lets them go."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Held", "holding"]


class Held:
    """Answers ``/held`` when ``release`` has been called, and every other path at once."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: Counter[str] = Counter()
        """How often each path was asked for, queries left out."""
        self._released = asyncio.Event()
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of a service that may fetch from it."""
        return ("--allow-net", "127.0.0.0/8", "--allow-port", str(self.port))

    def release(self) -> None:
        """Answer what waits, and what comes from now on at once."""
        self._released.set()

    async def until_asked(self, path: str) -> None:
        """Wait for a request for this path."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: self.asked[path])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while head := await _head(reader):
            path = head.split()[1].decode().partition("?")[0]
            self.asked[path] += 1
            async with self._news:
                self._news.notify_all()
            if path == "/held":
                await self._released.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Return the head of the next request; nothing when the connection has ended."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@asynccontextmanager
async def holding() -> AsyncIterator[Held]:
    """Run one until the block ends."""
    held = Held()
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.ensure_future(held.answer(reader, writer))] = writer

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    held.port = server.sockets[0].getsockname()[1]
    try:
        yield held
    finally:
        server.close()
        for connection, writer in connections.items():
            connection.cancel()
            writer.transport.abort()
        await asyncio.gather(*connections, return_exceptions=True)
