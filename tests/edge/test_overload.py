"""Overload over real sockets: who is refused, what still answers, who is shed, and that it passes."""

import asyncio
from math import inf

import aiohttp
import pytest

from service.core.overload import Level, LoadSample
from service.core.sessions.closing import OVERLOADED
from tests.edge.running import Client, call, client_of
from tests.edge.test_metrics import figures
from tests.edge.test_websocket import Mute, closed_with


def overload(client: Client, **measured: float) -> None:
    """Have the service find these figures; at its next own look it finds its own."""
    client.service.overload.update(LoadSample(**measured), asyncio.get_running_loop().time())


async def until(client: Client, level: Level) -> None:
    while client.service.overload.level is not level:
        await asyncio.sleep(0.5)


async def test_new_clients_are_refused_those_that_are_there_are_served_and_it_passes() -> None:
    async with client_of() as client, client.socket() as socket:
        overload(client, descriptors=inf)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.socket()
        assert refused.value.status == 503
        assert refused.value.headers is not None
        assert 5 <= int(refused.value.headers["Retry-After"]) <= 15
        status, problem, response = await client.ask("POST", "/topics/t", json=1)
        assert (status, problem["reason"]) == (503, "overloaded")
        assert response.headers["Connection"] == "close"
        assert await call(socket, "ping") == {}
        assert (await client.ask("GET", "/healthz"))[0] == 200
        status, body, response = await client.ask("GET", "/readyz")
        assert (status, body["status"], response.headers["Sluice-Reason"]) == (503, "overloaded", "overloaded")
        assert body["why"].startswith("descriptors")
        await asyncio.sleep(1.5)
        found = await figures(client)
        assert found["sluice_overload_level"] == Level.SHED
        assert found["sluice_refusals_total[handshake][overloaded]"] == 1
        assert found["sluice_refusals_total[http][overloaded]"] == 1
        await until(client, Level.SLOW)
        status, body, _ = await client.ask("GET", "/readyz")
        assert (status, body["status"]) == (200, "slow")
        async with client.socket() as another:
            assert await call(another, "ping") == {}
        await until(client, Level.NORMAL)
        assert (await client.ask("GET", "/readyz"))[1] == {"status": "ready"}
        assert (await figures(client))["sluice_overload_level"] == Level.NORMAL


async def test_a_process_that_has_no_memory_left_refuses_by_itself() -> None:
    async with client_of(memory_limit=1 << 20) as client:
        await until(client, Level.SHED)
        assert (await client.ask("GET", "/readyz"))[1]["why"].startswith("memory")
        await asyncio.sleep(60)
        assert client.service.overload.level is Level.SHED


async def test_fetches_get_a_tenth_of_their_places() -> None:
    async with client_of(upstream=20) as client, client.socket() as socket:
        overload(client, descriptors=inf)
        await until(client, Level.SHED)
        await asyncio.sleep(1)
        urls = [f"{client.origin}/slow/200?{number}" for number in range(8)]
        topic = (await call(socket, "fetch", urls=urls))["topic"]
        most = 0
        while client.service.hub.topics[topic].head < len(urls):
            most = max(most, client.service.batches.statistics().active)
            await asyncio.sleep(0.01)
        assert most == 2


async def test_the_heaviest_that_lag_are_shed_and_the_others_stay() -> None:
    async with (
        client_of(ring_messages=10_000, ring_size=64 << 20) as client,
        client.socket(max_msg_size=0) as healthy,
        Mute.connect(client),
        Mute.connect(client),
    ):
        stream = await client.session.get(client.url("/topics/t/events"), headers={"Accept": "text/event-stream"})
        await call(healthy, "subscribe", topic="t")
        for number in range(400):
            client.service.hub.publish("t", b'"' + b"x" * 30_000 + b'"', 0.0)
            assert (await healthy.receive_json())["params"]["offset"] == number + 1
        assert client.service.sockets.count == 3
        assert client.service.streams.readers
        overload(client, descriptors=inf)
        while client.service.sockets.count > 1 or client.service.streams.readers:
            await asyncio.sleep(0.1)
        assert (await figures(client))["sluice_shed_total"] == 3
        assert await call(healthy, "ping") == {}
        stream.close()


async def test_one_that_still_takes_something_is_closed_with_1013() -> None:
    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        (connection,) = client.service.sockets.connections
        connection.stall()
        client.service.hub.publish("t", b"1", 0.0)
        await socket.receive_json()
        connection.cut_slow("overload", closing=OVERLOADED)
        assert await closed_with(socket) == 1013


async def test_connections_without_a_request_go_and_those_with_one_stay() -> None:
    async with client_of() as client, client.socket() as socket:
        stream = await client.session.get(client.url("/topics/t/events"))
        opened = [await asyncio.open_connection("127.0.0.1", client.service.port) for _ in range(3)]
        (_, _), (_, half), (reader, kept) = opened
        half.write(b"GET / HTTP/1.1\r\nHo")
        kept.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b'alive"}')
        begin = asyncio.get_running_loop().time()
        overload(client, descriptors=inf)
        for reader, writer in opened:
            assert await reader.read() == b""
            writer.close()
        # At the next look, not when aiohttp's own 15 s are over.
        assert asyncio.get_running_loop().time() - begin < 3
        client.service.hub.publish("t", b"1", 0.0)
        assert b"start" in await stream.content.readline()
        assert b'"data":1' in await stream.content.readline()
        assert await call(socket, "ping") == {}
        stream.close()
