"""Raw WebSocket servers inside the test's own loop: they note the request's head and answer as a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from loadtest.frames import accept_of, frames
from tests.end_to_end.faulty import frame, unmasked

Talk = Callable[["Peer", bytes], Awaitable[None] | None]


class Peer:
    """One connection of a client."""

    def __init__(self, writer: asyncio.StreamWriter, head: bytes) -> None:
        self.writer = writer
        self.head = head.decode()

    def send(self, payload: bytes) -> None:
        self.writer.write(frame(payload))

    def close(self, code: int, reason: bytes) -> None:
        body = code.to_bytes(2, "big") + reason
        self.writer.write(bytes((0x88, len(body))) + body)
        self.writer.close()


class Peers:
    """All connections of one server."""

    def __init__(self, talk: Talk, accept: bytes, more: bytes) -> None:
        self.talk = talk
        self.accept = accept
        self.more = more
        self.heads: list[str] = []
        self.all: list[Peer] = []
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            key = head.lower().partition(b"sec-websocket-key: ")[0]
            key = head[len(key) :].partition(b": ")[2].partition(b"\r\n")[0]
            if not key:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            peer = Peer(writer, head)
            self.all.append(peer)
            fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + self.more
            accept = self.accept + accept_of(key.decode()).encode()
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + fields + accept + b"\r\n\r\n")
            await self._talk(reader, peer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, peer: Peer) -> None:
        rest = b""
        while data := await reader.read(1 << 16):
            rest += data
            end = whole(rest)
            for _, payload, _ in frames(unmasked(rest[:end])):
                waiting = self.talk(peer, payload)
                if waiting is not None:
                    await waiting
            rest = rest[end:]


def whole(data: bytes) -> int:
    """Return how many bytes at the beginning are whole frames of a client."""
    at = 0
    while len(data) - at >= 6:
        size, head = data[at + 1] & 0x7F, 6
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 8
        if at + head + size > len(data):
            break
        at += head + size
    return at


@asynccontextmanager
async def peers(
    talk: Talk, *, accept: bytes = b"Sec-WebSocket-Accept: ", more: bytes = b"", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peers]:
    """Serve until the block ends; ``talk(peer, payload)`` gets each message."""
    them = Peers(talk, accept, more)
    server = await asyncio.start_server(them.serve, "127.0.0.1", 0, ssl=tls)
    them.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield them
    finally:
        server.close()
        for writer in them.writers:
            writer.close()
        for writer in them.writers:
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 60)


def echo(peer: Peer, payload: bytes) -> None:
    peer.send(payload)
