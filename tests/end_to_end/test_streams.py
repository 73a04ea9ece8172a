"""Streams through a real proxy that buffers, and a crowd that drops its connections and comes back."""

import asyncio
import random
from typing import Any

import aiohttp
import orjson

from tests.end_to_end.held import holding
from tests.end_to_end.processes import nginx, service

# What a proxy does by default: it buffers answers and speaks HTTP/1.0 to its upstream.
PROXY = "location / {{ proxy_pass http://127.0.0.1:{port}; proxy_set_header Host localhost; {more} }}"
WEBSOCKET = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


async def line(response: aiohttp.ClientResponse) -> Any:
    return orjson.loads(await asyncio.wait_for(response.content.readline(), 60))


async def message(response: aiohttp.ClientResponse) -> Any:
    """Return the next line that is not a heartbeat: where the machine is slow, one may come at any place."""
    while (value := await line(response)).get("event") == "heartbeat":
        pass
    return value


async def test_each_message_comes_through_a_buffering_proxy_at_once() -> None:
    async with (
        service("--heartbeat", "1") as server,
        nginx(PROXY.format(port=server.port, more="")) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/topics/t/events") as stream:
            start = await line(stream)
            for number in range(1, 4):
                async with session.post("/topics/t", json=number) as answer:
                    assert answer.status == 200
                assert await message(stream) == {"offset": number, "data": number}
            assert await line(stream) == {"event": "heartbeat"}
        headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{start['epoch']}:1"}
        async with session.get("/topics/t/events", headers=headers) as stream:
            text = b""
            while b"data: 3\n" not in text:
                text += await asyncio.wait_for(stream.content.readline(), 60)
        text = text.replace(b": heartbeat\n\n", b"")
        assert b"id: %b:2\ndata: 2\n\nid: %b:3\ndata: 3\n" % ((start["epoch"].encode(),) * 2) in text


async def test_a_batch_through_a_proxy_comes_piece_by_piece() -> None:
    async with (
        holding() as upstream,
        service(*upstream.options) as server,
        nginx(PROXY.format(port=server.port, more="")) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        body = {"urls": [f"{upstream.url}/now", f"{upstream.url}/held"], "options": {"timeout": 60}}
        headers = {"Accept": "application/x-ndjson"}
        async with session.post("/fetch-batch", json=body, headers=headers) as answer:
            # The second is not answered before the first has come through.
            assert (await message(answer))["index"] == 0
            upstream.release()
            assert (await message(answer))["index"] == 1
            assert (await message(answer))["event"] == "done"


async def test_a_websocket_through_a_proxy() -> None:
    async with (
        service() as server,
        nginx(PROXY.format(port=server.port, more=WEBSOCKET)) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/ws", protocols=("sluice.v1",)) as socket,
    ):
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t"}})
        assert (await socket.receive_json())["result"]["offset"] == 0
        await socket.send_json({"jsonrpc": "2.0", "method": "publish", "params": {"topic": "t", "data": 1}})
        assert (await socket.receive_json())["params"]["data"] == 1


class Restless:
    """Reads a topic by any of its ways, drops its connection at random, and goes on where it was."""

    def __init__(self, session: aiohttp.ClientSession, url: str, chance: random.Random, epoch: str) -> None:
        self.session = session
        self.url = url
        self.chance = chance
        self.epoch = epoch
        self.seen: list[int] = []
        self.cuts = 0

    @property
    def position(self) -> int:
        return self.seen[-1] if self.seen else 0

    async def read(self, last: int) -> None:
        while self.position < last:
            way = self.chance.choice((self.websocket, self.ndjson, self.sse))
            await way(min(last, self.position + self.chance.randint(1, 60)))
            self.cuts += 1

    async def websocket(self, until: int) -> None:
        async with self.session.ws_connect(f"{self.url}/ws", protocols=("sluice.v1",)) as socket:
            since = {"epoch": self.epoch, "offset": self.position}
            params = {"topic": "t", "since": since}
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
            assert (await socket.receive_json())["result"]["recovered"] is True
            while self.position < until:
                self.seen.append((await socket.receive_json())["params"]["offset"])

    async def ndjson(self, until: int) -> None:
        async with self.session.get(f"{self.url}/topics/t/events?since={self.epoch}:{self.position}") as stream:
            assert orjson.loads(await stream.content.readline())["recovered"] is True
            while self.position < until:
                reported = orjson.loads(await stream.content.readline())
                if reported.get("event") != "heartbeat":
                    self.seen.append(reported["offset"])

    async def sse(self, until: int) -> None:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{self.epoch}:{self.position}"}
        async with self.session.get(f"{self.url}/topics/t/events", headers=headers) as stream:
            while self.position < until:
                text = (await stream.content.readuntil(b"\n\n")).decode()
                if "event: start" not in text and text.startswith("id: "):
                    self.seen.append(int(text.split("\n")[0].rsplit(":", 1)[1]))


async def test_a_thousand_readers_that_come_and_go_each_have_all_of_it_in_order() -> None:
    messages = 80
    async with (
        service("--connections", "2000", "--client-rate", "1000000") as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        session.ws_connect(f"{server.url}/ws", protocols=("sluice.v1",)) as publisher,
    ):
        await publisher.send_json(
            {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "t", "on_lag": "latest"}}
        )
        epoch = (await publisher.receive_json())["result"]["epoch"]
        readers = [Restless(session, server.url, random.Random(number), epoch) for number in range(1000)]

        async def publish() -> None:
            for number in range(messages):
                params = {"topic": "t", "data": number}
                await publisher.send_json({"jsonrpc": "2.0", "method": "publish", "params": params})
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            for reader in readers:
                group.create_task(reader.read(messages))
    assert all(reader.seen == list(range(1, messages + 1)) for reader in readers)
    assert sum(reader.cuts for reader in readers) > 1000
