"""The upstream of all quirks: one server at every address of loopback, that does what the table says."""

import asyncio
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from tests.quirks.model import End, Next, Quirk, Request, Script, answer

__all__ = ["Server", "echo"]

_RESET = struct.pack("ii", 1, 0)


def echo(request: Request) -> list[bytes]:
    """Answer with the request's own body."""
    body = b"" if request.method == "HEAD" else request.body
    return [answer(body, "Content-Type: text/plain") if body else answer(b"", "X-None: 1")]


class Server:
    """Finds the quirk by the address that was dialled, or by the path alone."""

    def __init__(self, quirks: Mapping[str, Quirk], find: Callable[[str], Quirk | None] | None = None) -> None:
        """Take the quirk of each host; ``find`` is asked for the hosts that have none."""
        self._quirks = quirks
        self._find = find
        self._visits: Counter[tuple[str, str]] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.targets: dict[str, list[str]] = {}
        """What was asked for at each host, in order."""
        self.requests = 0
        self.open = 0
        self.ports: list[int] = []

    @asynccontextmanager
    async def running(self, *contexts: ssl.SSLContext | None) -> AsyncIterator["Server"]:
        """Listen on a port for each of these: None is without TLS."""
        servers = []
        for context in contexts:
            listener = _listener()
            self.ports.append(listener.getsockname()[1])
            servers.append(
                await asyncio.start_server(self._begin, sock=listener, ssl=context, limit=1 << 20, backlog=4096)
            )
        try:
            yield self
        finally:
            for server in servers:
                server.close()
            for task in self._tasks:
                task.cancel()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def visited(self, host: str, target: str) -> int:
        """Return how often a target was asked for."""
        return self._visits[host, target]

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not writer.get_extra_info("peername")[0].startswith("127."):
            writer.transport.abort()
            return
        self._writers.add(writer)
        self.open += 1
        address, served = writer.get_extra_info("sockname")[0], 0
        try:
            # uvloop's transports raise RuntimeError once the other side has gone.
            with suppress(ConnectionError, RuntimeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await self._answer(address, served, reader, writer):
                    served += 1
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, address: str, served: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        request = self._request(address, served, head)
        for step in self._script(request)(request):
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, Next):
                await reader.readuntil(b"\r\n\r\n")
            elif isinstance(step, End):
                if not await _end(step, reader, writer):
                    return False
            else:
                await asyncio.sleep(step)
        return True

    def _request(self, address: str, served: int, head: bytes) -> Request:
        method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        request = Request(address, target, method, head, 0, served)
        if address == "127.0.0.1":
            address = (request.header("host") or b"").decode("latin-1").rpartition(":")[0]
        visit = self._visits[address, target]
        self._visits[address, target] += 1
        self.requests += 1
        self.targets.setdefault(address, []).append(target)
        return Request(address, target, method, head, visit, served)

    def _script(self, request: Request) -> Script:
        path = request.target.partition("?")[0]
        quirk = self._quirks.get(request.host)
        if quirk is None and self._find is not None:
            quirk = self._find(path)
        if quirk is None:
            return echo
        return quirk.script if path == quirk.path else quirk.paths.get(path, echo)


async def _end(end: End, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """End the connection, or its half; return whether anything is left of it."""
    if end is End.HALF:
        writer.write_eof()
        await reader.read()
    elif end is End.RST:
        # What was sent arrives before the reset: a peer that has not read it would never see it.
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    elif writer.get_extra_info("ssl_object") is not None:
        await asyncio.sleep(0.05)
        writer.transport.abort()  # without TLS's own notice
    return False


def _listener() -> socket.socket:
    """Listen at every address of loopback, and at no other."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with suppress(OSError):  # the peer's address is looked at anyway
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", 0))
    return listener
