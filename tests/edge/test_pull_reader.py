"""Large messages over HTTP: in parts, in turns with those of others, and the same bytes as at once."""

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from service.core.owner import Owner
from service.edge.routes.large_writes import LARGE
from service.runtime.per_turn import PerTurn
from tests.edge.running import Client, client_of

SIZE = 1_000_000
TEXT = "".join(map(str, range(200_000)))[:SIZE]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all writes of streams."""
    sizes: list[int] = []
    write = web.StreamResponse.write

    async def counted(response: web.StreamResponse, data: bytes | bytearray | memoryview) -> None:
        sizes.append(len(data))
        await write(response, data)

    monkeypatch.setattr(web.StreamResponse, "write", counted)
    return sizes


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was waited for in turns of large messages, in bytes."""
    costs: list[int] = []
    wait = PerTurn.wait

    async def counted(turn: PerTurn, owner: Owner, cost: int = 1) -> None:
        if cost > 1000:
            costs.append(cost)
        await wait(turn, owner, cost)

    monkeypatch.setattr(PerTurn, "wait", counted)
    return costs


async def published(client: Client, *messages: Any) -> None:
    for message in messages:
        assert (await client.ask("POST", "/topics/t", json=message))[0] == 200


def large() -> Any:
    return client_of(message_size=2 << 20, ring_size=64 << 20, rings_size=128 << 20)


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_large_message_comes_in_parts_and_whole(accept: str, written: list[int]) -> None:
    async with large() as client:
        await published(client, "before", TEXT, "after")
        path = client.url("/topics/t/events?since=oldest")
        async with client.session.get(path, headers={"Accept": accept}) as stream:
            got = b""
            while b'"after"' not in got:
                got += await stream.content.readany()
    assert b'"before"' in got
    assert orjson.dumps(TEXT) in got
    assert max(written) == LARGE
    assert sum(written) == len(got)


async def test_a_large_message_that_is_news_comes_in_parts_too(written: list[int]) -> None:
    async with large() as client, client.session.get(client.url("/topics/t/events")) as stream:
        await stream.content.readline()
        written.clear()
        await published(client, "before", TEXT, "after")
        got = b""
        while b'"after"' not in got:
            got += await stream.content.readany()
    assert orjson.dumps(TEXT) in got
    assert written.count(LARGE) == SIZE // LARGE
    assert max(written) == LARGE


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_messages_of_about_the_size_of_a_part_are_whole(accept: str) -> None:
    texts = ["x" * size for size in range(LARGE - 150, LARGE + 10, 3)]
    async with large() as client:
        await published(client, *texts, "end")
        path = client.url("/topics/t/events?since=oldest")
        async with client.session.get(path, headers={"Accept": accept}) as stream:
            got = b""
            while b'"end"' not in got:
                got += await stream.content.readany()
    data = [line.removeprefix(b"data: ") for line in got.splitlines() if b"xxx" in line]
    assert [one if isinstance(one, str) else one["data"] for one in map(orjson.loads, data)] == texts


async def test_small_messages_do_not_wait(written: list[int], waits: list[int]) -> None:
    async with large() as client:
        await published(client, *range(50), "x" * 50_000)
        async with client.session.get(client.url("/topics/t/events?since=oldest")) as stream:
            for _ in range(52):
                await stream.content.readuntil(b"\n")
    assert not waits
    assert len(written) == 2, "the line that begins the stream, and all messages together"


async def test_a_large_message_waits_before_each_part(waits: list[int]) -> None:
    async with large() as client:
        await published(client, TEXT)
        async with client.session.get(client.url("/topics/t/events?since=oldest")) as stream:
            await stream.content.readline()
            while not (await stream.content.readany()).endswith(b"}\n"):
                pass
    assert waits.count(LARGE) == SIZE // LARGE
    assert SIZE <= sum(waits) < SIZE + 100


async def test_results_of_a_document_wait_too(waits: list[int]) -> None:
    async with client_of() as client:
        status, body, _ = await client.batch(
            {"urls": [f"{client.origin}/bytes/{SIZE}", f"{client.origin}/bytes/10"]}
        )
    assert status == 200
    assert [one["bytes"] for one in orjson.loads(body)["results"]] == [SIZE, 10]
    assert [cost for cost in waits if cost > SIZE]


async def test_what_is_not_written_yet_counts_as_held() -> None:
    async with large() as client:
        await published(client, TEXT)
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port, limit=1024)
        writer.write(b"GET /topics/t/events?since=oldest HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        while not client.service.streams.readers:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        (held,) = (one.held for one in client.service.streams.readers)
        writer.transport.abort()
    assert held > LARGE * 4
