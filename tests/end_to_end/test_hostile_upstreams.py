"""Upstreams that stall, lie, flood and break off, all at once: each ends as what it is, in its time, and alone."""

import asyncio
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import brotli
import orjson
import trustme

from tests.end_to_end.processes import Process, service

TIMEOUT = 2.0
OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


def once(*pieces: bytes) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


def forever(head: bytes, piece: bytes, pause: float) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return serve


async def nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)


async def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(1, 13, linger)  # SOL_SOCKET, SO_LINGER
    writer.transport.abort()


def deflated(size: int, wbits: int) -> bytes:
    """Return that many zeros, packed: one flushed block, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * ((size >> 20) - 1)


def encoded(encoding: bytes, body: bytes) -> bytes:
    return OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)


GIB = 1 << 30
# What each path does, and what has to become of it: an error, or a result that is cut.
PATHS: dict[str, tuple[Serve, str]] = {
    "never-answers": (nothing, "timeout"),
    "header-drip": (forever(OK, b"X", 0.2), "timeout"),
    "byte-drip": (forever(OK + b"Content-Length: 5000\r\n\r\n", b"x", 0.05), "timeout"),
    "endless-body": (forever(OK + b"\r\n", bytes(1 << 16), 0), "truncated"),
    "10-gb-body": (forever(OK + b"Content-Length: 10000000000\r\n\r\n", bytes(1 << 16), 0), "truncated"),
    "gzip-bomb": (once(encoded(b"gzip", deflated(GIB, 31))), "truncated"),
    "deflate-bomb": (once(encoded(b"deflate", deflated(GIB, 15))), "truncated"),
    "brotli-bomb": (once(encoded(b"br", brotli.compress(bytes(GIB >> 2), quality=0))), "truncated"),
    "nested-encodings": (once(encoded(b"gzip, gzip, gzip", zlib.compress(bytes(1 << 20), 9, 31))), "any"),
    "redirect-loop": (once(b"HTTP/1.1 302 Found\r\nLocation: /redirect-loop\r\nContent-Length: 0\r\n\r\n"), "redirects"),
    "redirect-inside": (once(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"), "blocked"),
    "redirect-file": (once(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"), "invalid_url"),
    "bad-chunks": (once(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
    "both-lengths": (once(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "protocol"),
    "two-lengths": (once(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"), "protocol"),
    "short-body": (once(OK + b"Content-Length: 50\r\n\r\nabc"), "protocol"),
    "reset": (reset, "connect"),
    "closes": (once(), "connect"),
    "garbage": (once(bytes(range(256)) * 16), "protocol"),
    "50000-headers": (once(OK + b"X: y\r\n" * 50_000 + b"\r\n"), "protocol"),
    "huge-header": (once(OK + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n"), "protocol"),
}  # fmt: skip


async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do to each path what is in the table."""
    try:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        await PATHS[line[1:]][0](writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)  # a TLS handshake is never answered


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve each connection in a task that ends with the block."""
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks[asyncio.ensure_future(serve(reader, writer))] = writer

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in tasks.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


def peak(process: Process) -> int:
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def events(session: aiohttp.ClientSession, server: Process, urls: list[str]) -> list[tuple[float, Any]]:
    """Return each event with the seconds after which it came."""
    body = {"urls": urls, "options": {"timeout": TIMEOUT, "retries": 0, "max_bytes": 100_000}}
    begun = time.monotonic()
    async with session.post(
        f"{server.url}/fetch-batch", json=body, headers={"Accept": "application/x-ndjson"}
    ) as answer:
        return [(time.monotonic() - begun, orjson.loads(line)) async for line in answer.content]


def outcome(event: Any) -> str:
    return event.get("error") or ("truncated" if event["truncated"] else "result")


async def test_each_ends_as_what_it_is_in_its_time_with_bounded_memory() -> None:
    expired, stranger = trustme.CA(), trustme.CA()
    contexts = []
    for authority, expires in ((expired, True), (stranger, False)):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate = authority.issue_cert("127.0.0.1", **({"not_after": _long_ago()} if expires else {}))
        certificate.configure_cert(context)
        contexts.append(context)
    async with (
        serving(hostile) as port,
        serving(stall) as stalled,
        serving(leave, contexts[0]) as late,
        serving(leave, contexts[1]) as wrong,
        service(
            "--allow-net", "127.0.0.0/8", "--allow-port", f"{port}", "--allow-port", f"{stalled}",
            "--allow-port", f"{late}", "--allow-port", f"{wrong}", "--upstream-host", "100",
        ) as server,
        aiohttp.ClientSession(read_bufsize=1 << 20) as session,
    ):  # fmt: skip
        expected = {f"http://127.0.0.1:{port}/{path}": kind for path, (_, kind) in PATHS.items()}
        expected[f"https://127.0.0.1:{stalled}/"] = "timeout"
        expected[f"https://127.0.0.1:{late}/"] = "tls"
        expected[f"https://127.0.0.1:{wrong}/"] = "tls"
        before = peak(server)
        told = await events(session, server, list(expected))
        assert told[-1][1]["event"] == "done"
        found = {event["url"]: outcome(event) for _, event in told[:-1]}
        assert {url: kind for url, kind in found.items() if expected[url] not in (kind, "any")} == {}
        assert max(after for after, _ in told) < TIMEOUT + 0.5 + 1.0  # a second for a machine that does more
        assert peak(server) - before < 80 << 20
        again = await events(session, server, [f"http://127.0.0.1:{port}/short-body"] * 3)
        assert [outcome(event) for _, event in again[:-1]] == ["protocol"] * 3


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2020, 1, 1, tzinfo=UTC)
