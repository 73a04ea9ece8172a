"""Upstreams that stall, lie, flood and break off, all at once: each ends as what it is, in its time, and alone."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import trustme

from loadtest.origin.hostile import HOSTILE
from tests.end_to_end.processes import Process, origin, service

TIMEOUT = 2.0
# What has to become of each of the origin's hostile answers: an error, or a result that is cut.
BECOMES = {
    "never-answers": "timeout",
    "header-drip": "timeout",
    "byte-drip": "timeout",
    "endless-body": "truncated",
    "10-gb-body": "truncated",
    "gzip-bomb": "truncated",
    "deflate-bomb": "truncated",
    "brotli-bomb": "truncated",
    "gzip-members": "any",
    "nested-encodings": "any",
    "redirect-loop": "redirects",
    "redirect-inside": "blocked",
    "redirect-file": "invalid_url",
    "bad-chunks": "protocol",
    "both-lengths": "protocol",
    "two-lengths": "protocol",
    "short-body": "protocol",
    "closes": "connect",
    "garbage": "protocol",
    "http-0.9": "protocol",
    "100-continues": "any",
    "101": "any",
    "50000-headers": "protocol",
    "huge-header": "protocol",
}


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
        origin() as upstream,
        serving(stall) as stalled,
        serving(leave, contexts[0]) as late,
        serving(leave, contexts[1]) as wrong,
        service(
            "--allow-net", "127.0.0.0/8", "--allow-port", f"{upstream.port}", "--allow-port", f"{stalled}",
            "--allow-port", f"{late}", "--allow-port", f"{wrong}", "--upstream-host", "100",
        ) as server,
        aiohttp.ClientSession(read_bufsize=1 << 20) as session,
    ):  # fmt: skip
        assert set(BECOMES) == set(HOSTILE)
        expected = {f"{upstream.url}/hostile/{name}": kind for name, kind in BECOMES.items()}
        expected[f"{upstream.url}/fail"] = "connect"
        for bomb in ("gzip-bomb", "deflate-bomb", "brotli-bomb"):
            # Making one takes the origin a second, once: no part of what is measured.
            async with session.get(f"{upstream.url}/hostile/{bomb}", auto_decompress=False):
                pass
        expected[f"https://127.0.0.1:{stalled}/"] = "timeout"
        expected[f"https://127.0.0.1:{late}/"] = "tls"
        expected[f"https://127.0.0.1:{wrong}/"] = "tls"
        before = peak(server)
        reported = await events(session, server, list(expected))
        assert reported[-1][1]["event"] == "done"
        found = {event["url"]: outcome(event) for _, event in reported[:-1]}
        assert {url: kind for url, kind in found.items() if expected[url] not in (kind, "any")} == {}
        # Half a second later where nothing else runs; what hangs would do so for minutes.
        assert max(after for after, _ in reported) < TIMEOUT + 15
        assert peak(server) - before < 80 << 20
        again = await events(session, server, [f"{upstream.url}/hostile/short-body"] * 3)
        assert [outcome(event) for _, event in again[:-1]] == ["protocol"] * 3


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2020, 1, 1, tzinfo=UTC)
