"""Upstreams: the simulated origin, and one that stalls, lies, floods and breaks off."""

import asyncio
import gzip
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from bench.processes import Child

__all__ = ["HOSTILE", "Hostile", "hostile", "origin"]

_OK: Final = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def origin() -> Iterator[int]:
    """Run the load generator's origin and yield its port."""
    child = Child([sys.executable, "-m", "loadtest", "origin", "--port", "0"], core=1, idle=True, apart=True)
    try:
        yield int(child.line().rsplit(":", 1)[1])
    finally:
        child.stop()


async def _once(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(data)
    await writer.drain()


async def _forever(head: bytes, piece: bytes, pause: float, writer: asyncio.StreamWriter) -> None:
    writer.write(head)
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


async def _never(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


_ZEROS = gzip.compress(bytes(64 << 20), 9)
_GZIP = _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"

HOSTILE: Final[dict[str, Serve]] = {
    "never": _never,
    "head-drip": partial(_forever, _OK, b"X: y\r\n", 0.2),
    "body-drip": partial(_forever, _OK + b"Content-Length: 1000000\r\n\r\n", b".", 0.2),
    "endless": partial(_forever, _OK + b"\r\n", bytes(1 << 16), 0.0),
    "endless-head": partial(_forever, _OK, b"X: " + b"y" * 4000 + b"\r\n", 0.0),
    "many-heads": partial(_once, _OK + b"X: y\r\n" * 50_000 + b"\r\n"),
    "gzip-bomb": partial(_once, _GZIP % len(_ZEROS) + _ZEROS),
    "gzip-members": partial(_once, _GZIP % (20 * 50_000) + gzip.compress(b"", mtime=0) * 50_000),
    "not-gzip": partial(_once, _GZIP % 5 + b"hello"),
    "garbage": partial(_once, b"\x16\x03\x01 nothing of HTTP\r\n\r\n"),
    "http-0.9": partial(_once, b"<html>hello"),
    "bad-chunk": partial(_once, _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
    "huge-chunk": partial(_once, _OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
    "length-and-chunks": partial(_once, _OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    "short": partial(_once, _OK + b"Content-Length: 100\r\n\r\nhello"),
    "reset": _reset,
    "loop": partial(_once, b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"),
    "inward": partial(
        _once, b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    ),
    "continue": partial(_forever, b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    "switching": partial(_once, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
}
"""What is done to a request, by the first part of its path."""


class Hostile:
    """A server in a thread of its own; ``open`` is how many connections it has."""

    def __init__(self) -> None:
        self.open = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._ready.wait(5)

    async def _serve(self) -> None:
        # As every attacker here: who measures on the same core goes first.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=4096, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            kind = head.split(b"/", 2)[1].split(b" ")[0].split(b"?")[0].decode()
            serving = asyncio.create_task(_swallowing(HOSTILE[kind](writer)))
            # What the other side does is noticed at once, in every state.
            leaving = asyncio.create_task(_swallowing(reader.read()))
            await asyncio.wait([serving, leaving], return_when=asyncio.FIRST_COMPLETED)
            serving.cancel()
            leaving.cancel()
        self.open -= 1
        writer.close()

    def stop(self) -> None:
        """End it with all its connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)


async def _swallowing(doing: Awaitable[object]) -> None:
    """Wait for something that the other side may cut."""
    with suppress(ConnectionError):
        await doing


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Run it until the block ends."""
    server = Hostile()
    try:
        yield server
    finally:
        server.stop()
