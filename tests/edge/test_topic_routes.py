"""Topics over HTTP: publish, look, and streams with the same positions as a WebSocket's."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from service.core.owner import Owner
from service.core.topics.hub import Hub
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import Position
from service.edge.routes.pull_reader import PullReader
from tests.edge.running import Client, client_of


async def publish(client: Client, topic: str, data: Any, **headers: str) -> Any:
    return (await client.ask("POST", f"/topics/{topic}", json=data, headers=headers))[1]


async def lines(response: aiohttp.ClientResponse, count: int) -> list[Any]:
    return [orjson.loads(await response.content.readline()) for _ in range(count)]


async def test_publish_tells_the_position_and_how_many_read() -> None:
    async with client_of() as client:
        first = await publish(client, "a/b", {"x": 1})
        assert (first["offset"], first["readers"]) == (1, 0)
        info = (await client.ask("GET", "/topics/a/b"))[1]
        assert (info["topic"], info["epoch"], info["offset"], info["oldest"]) == ("a/b", first["epoch"], 1, 1)


async def test_a_stream_begins_with_its_position() -> None:
    async with client_of() as client:
        await publish(client, "t", "before")
        async with client.session.get(client.url("/topics/t/events")) as stream:
            (start,) = await lines(stream, 1)
            assert start == {"event": "start", "epoch": start["epoch"], "offset": 1, "recovered": False}
            await publish(client, "t", "after")
            assert await lines(stream, 1) == [{"offset": 2, "data": "after"}]
        async with client.session.get(client.url(f"/topics/t/events?since={start['epoch']}:0")) as stream:
            assert await lines(stream, 3) == [
                {"event": "start", "epoch": start["epoch"], "offset": 0, "recovered": True},
                {"offset": 1, "data": "before"},
                {"offset": 2, "data": "after"},
            ]


async def test_part_of_it_gone_is_a_gap() -> None:
    async with client_of(ring_messages=2) as client:
        for number in range(5):
            epoch = (await publish(client, "t", number))["epoch"]
        async with client.session.get(client.url(f"/topics/t/events?since={epoch}:1")) as stream:
            start, gap, *rest = await lines(stream, 4)
        assert start["recovered"] is False
        assert gap == {"event": "gap", "from": 2, "to": 3}
        assert [line["offset"] for line in rest] == [4, 5]


async def test_sse_carries_ids_and_last_event_id_wins() -> None:
    async with client_of() as client:
        epoch = (await publish(client, "t", 1))["epoch"]
        await publish(client, "t", 2)
        headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{epoch}:1"}
        async with client.session.get(client.url("/topics/t/events?since=oldest"), headers=headers) as stream:
            text = b"".join([await stream.content.readline() for _ in range(8)]).decode()
        assert stream.content_type == "text/event-stream"
        assert f"id: {epoch}:1\nevent: start\n" in text
        assert f"id: {epoch}:2\ndata: 2\n\n" in text


async def test_a_silent_stream_has_heartbeats() -> None:
    async with client_of(heartbeat=5.0) as client:
        async with client.session.get(client.url("/topics/t/events")) as stream:
            assert [line["event"] for line in await lines(stream, 3)] == ["start", "heartbeat", "heartbeat"]
        async with client.session.get(
            client.url("/topics/t/events"), headers={"Accept": "text/event-stream"}
        ) as stream:
            assert b"".join([await stream.content.readline() for _ in range(7)]).endswith(b"\n: heartbeat\n\n")


async def test_an_idempotency_key_publishes_once() -> None:
    async with client_of() as client:
        headers = {"Idempotency-Key": "k"}
        assert [(await publish(client, "t", 1, **headers))["offset"] for _ in range(3)] == [1, 1, 1]
        assert (await client.ask("POST", "/topics/t", json=1, headers={"Idempotency-Key": "k" * 129}))[0] == 422


async def test_one_body_to_many_topics_or_to_none() -> None:
    async with client_of() as client:
        status, answer, _ = await client.ask("POST", "/publish", json={"topics": ["a", "b"], "data": 1})
        assert (status, answer["topics"]["b"]["offset"]) == (200, 1)
        status, _, _ = await client.ask("POST", "/publish", json={"topics": ["c", "_stats"], "data": 1})
        assert status == 403
        assert (await client.ask("GET", "/topics/c"))[0] == 404


async def test_a_publish_to_many_topics_goes_a_slice_in_each_turn_and_reaches_all_though_its_client_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slices: list[int] = []
    appended = Hub.append_reserved

    def append(self: Hub, names: Sequence[str], data: bytes, now: float, owner: Owner) -> Sequence[Position]:
        slices.append(len(names))
        if len(slices) == 2:
            asking.cancel()
        return appended(self, names, data, now, owner)

    monkeypatch.setattr(Hub, "append_reserved", append)
    async with client_of() as client:
        names = [f"many/{number}" for number in range(100)]
        asking = asyncio.create_task(client.ask("POST", "/publish", json={"topics": names, "data": 1}))
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        async with asyncio.timeout(30):
            while sum(slices) < 100:
                await asyncio.sleep(0)
        assert slices == [*[16] * 6, 4]
        assert {client.service.hub.topics[name].head for name in names} == {1}


async def test_a_publish_to_many_topics_ends_where_it_fails_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(self: MemoryStore, *_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(MemoryStore, "append_all", append)
    async with client_of() as client:
        asked = {"topics": [f"many/{number}" for number in range(40)], "data": "x" * 1000}
        assert (await client.ask("POST", "/publish", json=asked))[0] == 500
        hub = client.service.hub
        assert hub.rings.pool.held(hub.topics["many/0"].owner) == 0, "nothing is reserved any more"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/topics/_stats", 403),
        ("POST", "/topics/batch:x", 403),
        ("GET", "/topics/batch:x/events", 403),
        ("GET", "/topics/job:x/events", 404),
        ("GET", "/topics/t/events?since=x", 422),
        ("GET", "/topics/t/events?on_lag=x", 422),
        ("GET", "/topics/none", 404),
        ("POST", "/topics/a%20b", 422),
        ("POST", "/topics/" + "x" * 256, 422),
        ("POST", "/topics/a%0Ab", 404),
    ],
)
async def test_a_wrong_topic_is_refused(method: str, path: str, status: int) -> None:
    async with client_of() as client:
        more = {"json": 1} if method == "POST" else {}
        assert (await client.ask(method, path, **more))[0] == status


async def test_the_services_own_figures_come_once_a_second() -> None:
    async with client_of() as client:
        async with client.session.get(client.url("/topics/_stats/events")) as stream:
            start, first, second = await lines(stream, 3)
        assert second["offset"] == first["offset"] + 1 == start["offset"] + 2
        assert first["data"]["connections"] == 0
        assert first["data"]["rss_mib"] > 1


async def test_a_stream_that_takes_nothing_is_cut_when_the_ring_has_moved_on() -> None:
    async with client_of(ring_messages=10) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(b"GET /topics/t/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        topic = client.service.hub.topics["t"]
        for _ in range(2000):
            client.service.hub.publish("t", b'"' + b"x" * 60_000 + b'"', 0.0)
            await asyncio.sleep(0)
            if not topic.readers:
                break
        assert not topic.readers
        writer.close()


NAMES = ["events", "a/events", "events/events", "/events", "events/", "/", "//", "a//b", ".", "..", "a/../b", "?#", "%", "%2F",
         "a+b", "a&b=c", ";", "\\", "~", "[]", '"<>"', "^`{|}", "'", "a" * 255]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_every_legal_name_works_on_every_route(name: str) -> None:
    path = "/topics/" + "".join(
        f"%{byte:02X}" if byte not in b"abcdefghijklmnopqrstuvwxyz" else chr(byte) for byte in name.encode()
    )
    async with client_of() as client:

        async def ask(method: str, path: str) -> Any:
            async with client.session.request(method, URL(client.url(path), encoded=True), json=1) as response:
                assert response.status == 200, await response.read()
                return orjson.loads(await response.content.readline())

        first = await ask("POST", path)
        assert first["offset"] == 1
        assert await ask("GET", path) | {"bytes": 0} == {
            "topic": name, "epoch": first["epoch"], "offset": 1, "oldest": 1, "bytes": 0, "readers": 0,
            "durable": False,
        }  # fmt: skip
        assert (await ask("GET", f"{path}/events"))["epoch"] == first["epoch"]


@pytest.mark.parametrize("path", ["%FF", "%ZZ", "%", "%4", "a%C3", "%ED%A0%80", "%C0%AF", "%FF/events"])
async def test_a_path_that_is_not_percent_encoded_utf8_is_a_bad_request(path: str) -> None:
    async with client_of() as client:
        for method in ("GET", "POST"):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
            head = f"{method} /topics/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1"
            writer.write(head.encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 400 "), path
            writer.close()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_news_are_written_without_waking_the_handler(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = 0
    right = PullReader.wait

    async def counted(reader: PullReader, heartbeat: float) -> bool:
        nonlocal waits
        waits += 1
        return await right(reader, heartbeat)

    monkeypatch.setattr(PullReader, "wait", counted)
    async with client_of() as client:
        async with client.session.get(client.url("/topics/t/events"), headers={"Accept": accept}) as stream:
            await stream.content.readuntil(b"\n")
            for number in range(20):
                await publish(client, "t", number)
                while b"%d\n" % number not in (line := await stream.content.readline()).replace(b"}", b""):
                    assert line
            assert waits == 1
        # The end of the stream is sent as usual.
        client.service.streams.end()


async def test_a_peer_that_stops_reading_is_left_to_its_handler_and_misses_nothing() -> None:
    async with client_of(
        ring_messages=5000, ring_size=64 << 20, rings_size=128 << 20, message_size=1 << 20
    ) as client:
        async with client.session.get(client.url("/topics/t/events"), timeout=aiohttp.ClientTimeout()) as stream:
            (start,) = await lines(stream, 1)
            big = "x" * 60_000
            for number in range(300):
                await publish(client, "t", [number, big])
            (reader,) = client.service.streams.readers
            assert reader.behind or reader.held, "the peer has not read anything yet"
            got = await lines(stream, 300)
        assert [line["offset"] for line in got] == list(range(1, 301))
        assert all(line["data"] == [number, big] for number, line in enumerate(got))
        assert start["offset"] == 0
