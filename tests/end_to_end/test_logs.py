"""What the real process writes while it starts, serves, evicts and stops."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from bench.processes import unread_pipe
from tests.end_to_end.processes import Process, origin, run, service, start
from tests.log_schema import event_of

TOKEN = "a-secret-that-no-log-has"


async def events(server: Process) -> list[dict[str, Any]]:
    """Return what the process has logged, after its end, each line as docs/operations.md has it."""
    assert server.process.stderr is not None
    return [event_of(line) for line in (await server.process.stderr.read()).splitlines()]


async def test_a_life_is_a_few_lines_of_json_without_secrets() -> None:
    async with (
        service("--drain", "0.5", env={"SLUICE_TOKEN": TOKEN}) as server,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
    ):
        async with session.ws_connect(f"{server.url}/ws", protocols=("sluice.v1",)):
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
        reported = await events(server)
    assert [event["message"] for event in reported] == ["listening", "draining", "drained"]
    assert reported[0]["url"] == server.url
    assert reported[1]["connections"] == 1
    assert TOKEN not in str(reported)


@pytest.mark.parametrize("unbuffered", ["", "1"])
async def test_it_ends_though_nobody_reads_its_full_pipe(unbuffered: str) -> None:
    with unread_pipe() as into:
        command = (sys.executable, "-m", "service", "serve", "--port", "0")
        child = await start(*command, stderr=into, env={"PYTHONUNBUFFERED": unbuffered})
        assert await child.line()
        assert await child.stop() == 0


async def test_it_serves_while_nobody_reads_its_log_and_the_lines_come_later() -> None:
    out, into = os.pipe()
    child = await start(sys.executable, "-m", "service", "serve", "--port", "0", stderr=into)
    try:
        url = (await child.line()).split("listening on")[1].strip()
        os.set_blocking(out, False)
        os.set_blocking(into, False)
        for piece in (b" " * 4096, b" "):
            with suppress(BlockingIOError):
                while os.write(into, piece):
                    pass
        os.set_blocking(into, True)  # the service has the same end
        child.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30), aiohttp.ClientSession(url) as session:
            for number in range(1, 21):
                async with session.post("/topics/t", json=number) as answer:
                    assert (await answer.json())["offset"] == number
        logged = b""
        async with asyncio.timeout(30):
            while b"reloaded" not in logged:
                await readable(out)
                logged += os.read(out, 1 << 20)
        assert b"dropped" not in logged
        assert await child.stop() == 0
    finally:
        os.close(out)
        os.close(into)


async def test_a_log_file_that_cannot_grow_stops_nobody_and_says_later_what_it_misses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    serve = f"ulimit -f 1 && exec {sys.executable} -m service serve --port 0 2>>{log}"
    child = await start("sh", "-c", serve)
    url = (await child.line()).split("listening on")[1].strip()
    async with aiohttp.ClientSession(url) as session, asyncio.timeout(30):

        async def hang_up() -> None:
            child.process.send_signal(signal.SIGHUP)
            async with session.post("/topics/t", json=1) as answer:
                assert answer.status == 200

        size = 0
        while log.stat().st_size > size or size < 512:
            size = log.stat().st_size
            await hang_up()
        os.truncate(log, 0)
        while b"lines were dropped" not in log.read_bytes():
            await hang_up()
    assert await child.stop() == 0


async def readable(descriptor: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


async def test_settings_that_are_refused_are_lines_of_the_log_too() -> None:
    command = (sys.executable, "-m", "service", "serve", "--port", "x", "--tls-key", "y")
    code, _, err = await run(*command)
    assert code == 2
    assert [orjson.loads(line)["level"] for line in err.splitlines()] == ["error", "error"]
    code, _, err = await run(*command, env={"SLUICE_LOG_FORMAT": "text"})
    assert err.startswith("sluice: --port: ")


async def test_a_reader_that_takes_nothing_is_evicted_and_logged() -> None:
    async with service("--ring-messages", "50", "--drain", "0.5") as server, aiohttp.ClientSession() as session:
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        request = b'{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"t"}}'
        writer.write(b"\x81" + bytes([0x80 | len(request)]) + b"\0\0\0\0" + request)
        await writer.drain()
        async with asyncio.timeout(60):
            while (await (await session.post(f"{server.url}/topics/t", json="x" * 60_000)).json())["readers"] == 0:
                pass
            while (await (await session.post(f"{server.url}/topics/t", json="x" * 60_000)).json())["readers"] == 1:
                pass
        async with session.get(f"{server.url}/metrics") as answer:
            assert 'sluice_evictions_total{reason="lag"} 1.0' in await answer.text()
        writer.close()
        server.process.send_signal(signal.SIGTERM)
        await server.ended()
        (evicted,) = [event for event in await events(server) if event["message"] == "client evicted"]
    assert (evicted["reason"], evicted["topic"], evicted["client"]) == ("lag", "t", "ws-1")
    assert evicted["waiting_bytes"] > 0


@pytest.mark.parametrize("given", ["r1", None])
async def test_a_request_id_goes_round(given: str | None) -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        headers = {"X-Request-Id": given} if given else {}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{server.url}/fetch-batch", json={"urls": [f"{upstream.url}/bytes/5"]}) as answer,
        ):
            assert (await answer.json())["ok"] == 1
            assert answer.headers["X-Request-Id"] == given or (given is None and answer.headers["X-Request-Id"])
