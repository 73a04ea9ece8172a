"""Clocks that are set while the service runs (Debian's libfaketime), and a process that was suspended."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
import pytest

from tests.end_to_end.processes import Process, listening, loadtest, origin, run, service
from tests.log_schema import event_of

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
SERVE = (sys.executable, "-m", "service", "serve", "--port", "0", "--allow-net", "127.0.0.0/8")


class WallClock:
    """The time of day of a process, as far from the real one as is said; its monotonic clocks go on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.set(0)

    def set(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        if LIBRARY is None:
            pytest.skip("libfaketime is not installed (Debian: faketime)")
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@asynccontextmanager
async def with_clock(folder: Path, *options: str) -> AsyncIterator[tuple[WallClock, Process, Process]]:
    clock = WallClock(folder)
    async with origin() as upstream:
        command = (*SERVE, "--allow-port", str(upstream.port), *options)
        async with listening(*command, env=clock.environment) as server:
            yield clock, server, upstream


async def fetch(session: aiohttp.ClientSession, *urls: str, **options: Any) -> dict[str, Any]:
    async with session.post("/fetch-batch", json={"urls": urls, "options": options}) as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


QUIET = ("--heartbeat", "600")
"""No pings: aiohttp's client answers them only while it waits for a message."""


async def received(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    """Return the data of the next messages."""
    return [(await socket.receive_json())["params"]["data"] for _ in range(count)]


async def received_by(session: aiohttp.ClientSession) -> float:
    """Return how many messages WebSocket clients have sent to the service."""
    async with session.get("/metrics") as answer:
        return float((await answer.text()).partition("\nsluice_messages_received_total ")[2].split()[0])


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_clock_that_is_set_ends_nothing_and_forgets_nothing(tmp_path: Path, step: int) -> None:
    async with (
        with_clock(tmp_path, "--heartbeat", "4") as (clock, server, upstream),
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect("/ws") as socket,
    ):
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t"}})
        start = (await socket.receive_json())["result"]
        messages = asyncio.create_task(received(socket, 2))
        async with session.post("/topics/t", json="before") as published:
            assert (await published.json())["offset"] == 1
        slow = asyncio.create_task(fetch(session, f"{upstream.url}/slow/3500", timeout=60))
        async with session.get("/healthz") as answer:
            before = answer.headers["Date"]
        clock.set(step)
        async with session.get("/healthz") as answer:
            assert answer.headers["Date"] != before
        # Longer than the time for an answer to a ping: nobody is cut, and what runs keeps its deadline.
        assert (await slow)["ok"] == 1
        assert (await fetch(session, f"{upstream.url}/slow/5000", timeout=0.5))["results"][0]["error"] == "timeout"
        async with session.get(f"/topics/t/events?since={start['epoch']}:0") as stream:
            begun = orjson.loads(await stream.content.readline())
            assert (begun["recovered"], begun["epoch"]) == (True, start["epoch"])
            assert orjson.loads(await stream.content.readline())["data"] == "before"
        async with session.post("/topics/t", json="after") as published:
            assert (await published.json()) == {"epoch": start["epoch"], "offset": 2, "readers": 1}
        assert await asyncio.wait_for(messages, 30) == ["before", "after"]


@pytest.mark.seconds(20)
async def test_a_token_ends_after_its_time_also_when_the_clock_is_set(tmp_path: Path) -> None:
    secret = "s" * 40
    (tmp_path / "secret").write_text(secret)

    def bearer(seconds: float) -> dict[str, str]:
        claims = {"sub": "ann", "subscribe": ["*"], "exp": int(time.time() + seconds)}
        return {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}

    async with (
        with_clock(tmp_path, *QUIET, "--jwt-secret-file", str(tmp_path / "secret"), "--jwt-leeway", "0") as (
            clock,
            server,
            _,
        ),
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect("/ws", headers=bearer(12)) as short,
        session.ws_connect("/ws", headers=bearer(3600)) as long,
    ):
        # Who has an answer is here: its token's time was taken before the clock is set.
        for socket in (short, long):
            await socket.send_json({"jsonrpc": "2.0", "id": 0, "method": "ping"})
            assert (await socket.receive_json())["result"] == {}
        # Forward: who is here stays, and nobody comes in with an old token.
        clock.set(7200)
        await long.send_json({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert (await long.receive_json())["result"] == {}
        async with session.get("/topics/t", headers=bearer(3600)) as answer:
            assert answer.status == 401
        # Back: the short one is not an hour longer for it.
        clock.set(-3600)
        ended = await asyncio.wait_for(short.receive(), 90)
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4401)
        await long.send_json({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert (await long.receive_json())["result"] == {}


@pytest.mark.parametrize("step", [3600, -3600])
async def test_answers_and_messages_age_by_the_time_that_has_passed(tmp_path: Path, step: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        asked[path] += 1
        date = formatdate(usegmt=True).encode()
        head = b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nCache-Control: max-age=" + path[1:]
        writer.write(head + b"\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    asked: Counter[bytes] = Counter()
    upstream = await asyncio.start_server(serve, "127.0.0.1")
    port = upstream.sockets[0].getsockname()[1]
    async with (
        upstream,
        with_clock(tmp_path, "--allow-port", str(port), "--ring-age", "1") as (clock, server, _),
        aiohttp.ClientSession(server.url) as session,
    ):
        urls = [f"http://127.0.0.1:{port}/{age}" for age in (600, 2)]
        await fetch(session, *urls)
        async with session.post("/topics/t", json="old") as published:
            epoch = (await published.json())["epoch"]
        clock.set(step)
        async with asyncio.timeout(30):
            while asked[b"/2"] == 1:
                assert (await fetch(session, *urls))["ok"] == 2
                await asyncio.sleep(0.1)  # it is the time that has to pass
        assert asked[b"/600"] == 1
        async with asyncio.timeout(30):
            recovered = True
            while recovered:
                async with session.get(f"/topics/t/events?since={epoch}:0") as stream:
                    recovered = orjson.loads(await stream.content.readline())["recovered"]
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_watch_keeps_its_pace_when_the_clock_is_set(tmp_path: Path, step: int) -> None:
    async with (
        with_clock(tmp_path) as (clock, server, upstream),
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect("/ws") as socket,
    ):
        # Every poll finds another version: the upstream's clock is not set.
        url = f"{upstream.url}/etag/page?period=0.001"
        since = time.monotonic()
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": {"url": url, "every": 1}})
        assert (await socket.receive_json())["result"]["offset"] == 0
        events = await asyncio.wait_for(received(socket, 2), 30)
        clock.set(step)
        # It would wait for an hour, or make the polls of an hour at once.
        events += await asyncio.wait_for(received(socket, 3), 30)
        assert [one["event"] for one in events] == ["state", *["changed"] * 4]
        assert time.monotonic() - since > 2.5


async def test_a_run_of_the_load_generator_says_that_the_clock_was_set(tmp_path: Path) -> None:
    """Its rates, latencies and time line are of the monotonic clock."""
    clock, report = WallClock(tmp_path), tmp_path / "report.json"
    async with service() as server, aiohttp.ClientSession(server.url) as session:
        command = loadtest("broadcast", "--url", server.url, "--clients", "5", "--rate", "20", "--duration", "4",
                           "--threshold", "lost==0", "--json", str(report))  # fmt: skip
        going = asyncio.create_task(run(*command, env=clock.environment))
        async with asyncio.timeout(30):
            while not await received_by(session):
                await asyncio.sleep(0.02)  # a figure of another process
        clock.set(-3600)
        code, out, err = await going
    document = orjson.loads(report.read_bytes())
    assert code == 0, out + err
    assert document["load"]["clock_step_s"] == pytest.approx(-3600, abs=5)
    assert any("the clock of this machine was set" in note for note in document["notes"])
    assert document["latency_ms"]["delivery"]["count"] == 400
    assert 0 < document["latency_ms"]["delivery"]["max"] < 60_000


@pytest.mark.seconds(16)
async def test_a_process_that_was_suspended_goes_on_with_its_clients() -> None:
    """A laptop's lid, a debugger, a paused container: clients answered all pings, which nobody has read yet."""
    async with (
        origin() as upstream,
        service("--heartbeat", "2", "--handshake-time", "3", "--allow-net", "127.0.0.0/8",
                "--allow-port", str(upstream.port)) as server,
        aiohttp.ClientSession(server.url) as session,
    ):  # fmt: skip
        sockets = [await session.ws_connect("/ws") for _ in range(20)]
        for socket in sockets:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t"}})
            await socket.receive_json()
        readers = [asyncio.create_task(received(socket, 1)) for socket in sockets]
        late = asyncio.create_task(fetch(session, f"{upstream.url}/slow/20000", timeout=4, retries=0))
        patient = asyncio.create_task(fetch(session, f"{upstream.url}/slow/4000", timeout=60))
        async with asyncio.timeout(30):
            while (await (await session.get("/metrics")).text()).count("sluice_fetches_active 2.0") == 0:
                await asyncio.sleep(0.02)  # a figure of another process
        server.process.send_signal(signal.SIGSTOP)
        # Over a connection that was kept, whose time is over before the service can read this.
        asked = asyncio.create_task(session.post("/topics/u", json="asleep"))
        await asyncio.sleep(6.0)  # the suspension itself: several heartbeats
        server.process.send_signal(signal.SIGCONT)
        async with session.post("/topics/t", json="awake") as published:
            assert (await published.json())["readers"] == 20
        async with await asked as answer:
            assert (await answer.json())["offset"] == 1
        assert await asyncio.wait_for(asyncio.gather(*readers), 30) == [["awake"]] * 20
        assert (await late)["results"][0]["error"] == "timeout"
        assert (await patient)["ok"] == 1
        for socket in sockets:
            await socket.close()
    [logged] = [line for line in server.errors.splitlines() if b"the event loop stood still" in line]
    assert event_of(logged)["why"].startswith("the process did not run")
