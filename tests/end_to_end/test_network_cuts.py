"""A network that is cut for real, between network namespaces: in silence, or with the carrier."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import aiohttp
import pytest

from service.client import Backoff, Client, Message, State, liveness
from tests.end_to_end.cable import HERE, THERE, Cable, cabled, own_network
from tests.name_server import name_server

FETCHING = ("--allow-net", f"{HERE}/32")


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


class Upstream:
    """Says what its body is now."""

    port = 0
    body = "hello"


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """Answer with a head, and with the body where the path is not ``/half``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: 5\r\n\r\n"
        writer.write(head.encode() + (b"" if path == b"/half" else one.body.encode()))

    one = Upstream()
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "0.0.0.0")
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def fetched(cable: Cable, *urls: str, **options: object) -> list[str]:
    """Return what happened to each URL: the kind of its failure, or its body."""
    answer = await cable.ask("POST", "/fetch-batch", json.dumps({"urls": urls, "options": options}))
    events = [json.loads(line) for line in answer.split("\r\n\r\n", 1)[1].splitlines()]
    assert events.pop()["event"] == "done"
    return [event.get("error") or event["body"] for event in events]


async def test_clients_behind_a_silent_network_are_found_and_freed() -> None:
    async with cabled("--heartbeat", "2") as cable, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"http://{THERE}:{cable.port}/ws") for _ in range(5)]
        for socket in sockets:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t"}})
            await socket.receive_json()
        # They answer pings only while they read.
        reading = [asyncio.create_task(socket.receive()) for socket in sockets]
        assert await cable.figure("sluice_connections") == 5
        cable.silence()
        # By the heartbeat: 20 s later the kernel would have said that nothing is acknowledged.
        await cable.reaches('sluice_evictions_total{reason="silent"}', 5)
        await cable.reaches("sluice_connections", 0)
        assert '"readers":0' in await cable.ask("POST", "/topics/t", "1")
        cable.mend()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for socket in sockets:
            await socket.close()


@pytest.mark.parametrize("cut", [Cable.silence, Cable.unplug])
async def test_fetches_end_by_their_deadline_and_work_afterwards(cut: Callable[[Cable], None]) -> None:
    async with upstream() as other, cabled(*FETCHING, "--allow-port", str(other.port)) as cable:
        good, half = f"http://{HERE}:{other.port}/", f"http://{HERE}:{other.port}/half"
        assert await fetched(cable, good) == ["hello"]
        begun = asyncio.create_task(fetched(cable, half, timeout=5, retries=0))
        await cable.reaches("sluice_fetches_active", 1)
        cut(cable)
        # Where the machine itself has lost its network, that is known at once.
        new, time = ("timeout", 0.5) if cut is Cable.silence else ("connect", 30)
        assert await fetched(cable, good, timeout=time, retries=0) == [new]
        assert await begun == ["timeout"]
        assert await cable.figure("sluice_fetches_active") == 0
        cable.mend()
        assert await fetched(cable, good, timeout=20) == ["hello"]


async def test_a_watch_reports_the_cut_and_goes_on() -> None:
    async with upstream() as other, cabled(*FETCHING, "--allow-port", str(other.port)) as cable:
        path = f"/watch?every=1&url=http://{HERE}:{other.port}/"
        async with cable.request("GET", path) as reader, asyncio.timeout(60):

            async def event() -> dict[str, str]:
                found: dict[str, str] | None = None
                while found is None:
                    line = await reader.readline()
                    assert line, "the stream has ended"
                    found = json.loads(line).get("data") if line.startswith(b"{") else None
                return found

            assert (await event())["body"] == "hello"
            cable.unplug()
            assert (await event())["error"] == "connect"
            other.body = "world"
            cable.mend()
            assert (await event())["event"] == "recovered"
            assert (await event())["body"] == "world"


async def test_the_client_comes_back_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_LOOK", 0.1)
    states: asyncio.Queue[State] = asyncio.Queue()

    async def until(wanted: str) -> None:
        async with asyncio.timeout(30):
            while (await states.get()).state != wanted:
                pass

    async with (
        cabled("--heartbeat", "0.5") as cable,
        Client(f"http://{THERE}:{cable.port}", backoff=Backoff(0.05, 0.2), on_state=states.put_nowait) as client,
        client.subscribe("t", since="oldest") as values,
    ):
        await until("open")
        await cable.ask("POST", "/topics/t", "0")
        stream = aiter(values)
        async with asyncio.timeout(60):
            first = await anext(stream)
            assert isinstance(first, Message)
            assert first.data == 0
            cable.silence()
            for number in range(1, 20):
                await cable.ask("POST", "/topics/t", str(number))
            await until("waiting")
            cable.mend()
            got = [await anext(stream) for _ in range(19)]
        assert [value.data for value in got if isinstance(value, Message)] == [*range(1, 20)]


async def test_names_that_cannot_be_looked_up_are_failures_of_dns(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {HERE}\n")
    mount = f"mount --bind {resolver} /etc/resolv.conf"
    async with (
        upstream() as other,
        cabled(*FETCHING, "--allow-port", str(other.port), before=mount) as cable,
        name_server(HERE, host=HERE, port=53),
    ):
        mute = socket(AF_INET, SOCK_DGRAM)
        mute.bind((HERE, 0))
        try:
            first, second, third = [f"http://h{number}.example:{other.port}/" for number in range(3)]
            assert await fetched(cable, first) == ["hello"]
            cable.unplug()
            assert await fetched(cable, second, retries=0) == ["dns"]
            cable.mend()
            assert await fetched(cable, second, timeout=20) == ["hello"]
            cable.silence()
            assert await fetched(cable, third, timeout=1, retries=0) == ["dns"]
            cable.mend()
            assert await fetched(cable, third, timeout=20) == ["hello"]
            # Rewritten in place, as container engines do with a mounted file: pending look-ups ask the new server.
            resolver.write_text(f"nameserver {HERE}:{mute.getsockname()[1]}\n")
            waiting = asyncio.create_task(fetched(cable, f"http://h4.example:{other.port}/", timeout=20, retries=0))
            await cable.reaches('sluice_pool_used{pool="lookups"}', 1)
            resolver.write_text(f"nameserver {HERE}\n")
            assert await fetched(cable, f"http://h5.example:{other.port}/", retries=0) == ["hello"]
            assert await waiting == ["hello"]
        finally:
            mute.close()
