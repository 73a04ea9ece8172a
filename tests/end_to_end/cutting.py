"""A TCP proxy that cuts its connections on request, and sends them elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

AnyCutter = TypeVar("AnyCutter", bound="Cutter")


class Cutter:
    """Passes bytes on to a port of this machine; ``down`` refuses every client."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.down = False
        self.deaf = False
        """Whether what the service says is thrown away: its clients never see the answers."""
        self.accepted = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Abort every connection, and lose what is on its way."""
        for writer in self._writers:
            writer.transport.abort()

    def passes(self, data: bytes) -> None:
        """Look at what the service says."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        self.accepted += 1
        if self.down:
            writer.transport.abort()
            return
        try:
            upstream, beyond = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, beyond}
        ways = [
            asyncio.create_task(self._pass(reader, beyond, heard=False)),
            asyncio.create_task(self._pass(upstream, writer, heard=True)),
        ]
        # What one end has said before it closed still reaches the other.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        self._writers -= {writer, beyond}
        writer.close()
        beyond.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, heard: bool) -> None:
        while data := await reader.read(65536):
            if heard:
                self.passes(data)
            if not (heard and self.deaf):
                writer.write(data)
                await writer.drain()


def cutting(target: int) -> AbstractAsyncContextManager[Cutter]:
    """Run a proxy in front of a port until the block ends."""
    return serving(Cutter(target))


@asynccontextmanager
async def serving(cutter: AnyCutter) -> AsyncIterator[AnyCutter]:
    """Run this proxy until the block ends."""
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        server.close()
        cutter.cut()
        await asyncio.sleep(0)
