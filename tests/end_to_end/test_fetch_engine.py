"""The fetch engine in the real process: what reaches the upstream from any client, and what is left when they go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import orjson

from tests.end_to_end.held import Held, holding
from tests.end_to_end.processes import Process, origin, service


class Both:
    """A service, its upstream, and a client of both."""

    def __init__(self, server: Process, upstream: Process | Held, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.upstream = upstream
        self.session = session

    async def ledger(self, path: str = "/ledger") -> Any:
        async with self.session.get(self.upstream.url + path) as answer:
            return orjson.loads(await answer.read())

    async def post(self, urls: list[str], **options: Any) -> Any:
        body = {"urls": urls, "options": options}
        async with self.session.post(f"{self.server.url}/fetch-batch", json=body) as answer:
            return orjson.loads(await answer.read())

    async def batch_by_socket(self, urls: list[str]) -> list[Any]:
        async with self.session.ws_connect(f"{self.server.url}/ws") as socket:
            params = {"urls": urls, "options": {"timeout": 60}}
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "fetch", "params": params})
            events = []
            while not events or events[-1]["event"] != "done":
                message = await socket.receive_json(timeout=60)
                if "params" in message:
                    events.append(message["params"]["data"])
            return events

    async def until_running(self, batches: int) -> None:
        """Wait until so many batches run."""
        async with asyncio.timeout(60), self.session.get(f"{self.server.url}/topics/_stats/events") as figures:
            async for line in figures.content:
                if orjson.loads(line).get("data", {}).get("batches") == batches:
                    return

    async def until_quiet(self) -> None:
        """Wait until the upstream has no request open."""
        async with asyncio.timeout(60):
            while (await self.ledger())["active"]:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def before(upstream: Process | Held, *options: str) -> AsyncIterator[Both]:
    # No pings: aiohttp's client answers them only while it waits for a message.
    common = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port), "--heartbeat", "600")
    async with (
        service(*common, *options) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Both(server, upstream, session)


@asynccontextmanager
async def both(*options: str) -> AsyncIterator[Both]:
    async with origin() as upstream, before(upstream, *options) as ends:
        yield ends


async def test_ten_thousand_askers_of_one_slow_url_are_one_request() -> None:
    async with holding() as upstream, before(upstream) as ends:
        url = f"{upstream.url}/held"
        first = asyncio.create_task(ends.post([url], timeout=60))
        await upstream.until_asked("/held")
        asking = [asyncio.create_task(ends.post([url] * 50, timeout=60)) for _ in range(100)]
        asking += [asyncio.create_task(ends.batch_by_socket([url] * 100)) for _ in range(50)]
        await ends.until_running(151)
        first.cancel()
        await ends.until_running(150)
        upstream.release()
        answers = await asyncio.gather(*asking)
        assert {(answer["ok"], answer["failed"]) for answer in answers[:100]} == {(50, 0)}
        assert {events[-1]["ok"] for events in answers[100:]} == {100}
        assert upstream.asked == {"/held": 1}


async def first_of(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """Return what a watch begins with: the newest state."""
    assert "result" in await socket.receive_json(timeout=60)
    return await event_of(socket)


async def event_of(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return (await socket.receive_json(timeout=60))["params"]["data"]


def version_of(event: Any) -> int:
    version: int = orjson.loads(event["body"])["version"]
    return version


async def test_five_hundred_watchers_by_both_ways_are_one_conditional_poll_a_second() -> None:
    async with both() as ends, AsyncExitStack() as stack:
        url = f"{ends.upstream.url}/etag/a?period=2"
        params: dict[str, Any] = {"url": url, "every": 1}
        sockets = []
        begun = asyncio.get_running_loop().time()
        for _ in range(500):
            socket = await stack.enter_async_context(ends.session.ws_connect(f"{ends.server.url}/ws"))
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": params})
            sockets.append(socket)
        stream = await stack.enter_async_context(ends.session.get(f"{ends.server.url}/watch", params=params))

        newest = version_of(await first_of(sockets[-1]))

        async def changes(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
            events = [await event_of(socket)]
            while version_of(events[-1]) < newest + 2:
                events.append(await event_of(socket))
            return events

        await asyncio.gather(*map(first_of, sockets[:-1]))
        seen = await asyncio.gather(*map(changes, sockets))
        assert {event["event"] for events in seen for event in events} == {"changed"}
        # However long the handshakes took: from the last of them on, everybody gets what the one poll found.
        assert len({version_of(events[-1]) for events in seen}) == 1
        assert b"start" in await stream.content.readuntil(b"\n\n") + await stream.content.readuntil(b"\n\n")
        ledger = await ends.ledger()
        assert ledger["kinds"]["etag"] <= asyncio.get_running_loop().time() - begun + 2
        assert ledger["conditional"] == ledger["kinds"]["etag"] - 1
        await stack.aclose()
        async with asyncio.timeout(60):
            asked = -1
            while asked != (asked := (await ends.ledger())["kinds"]["etag"]):
                await asyncio.sleep(2.2)


async def test_a_caller_that_leaves_takes_its_requests_along() -> None:
    async with both(
        "--batch-linger", "0", "--upstream", "600", "--upstream-client", "500", "--upstream-host", "700"
    ) as ends:
        # More than 500, because one client leaves some of all places, and of a host's, to others.
        urls = [f"{ends.upstream.url}/slow/100000?{number}" for number in range(500)]
        socket = await ends.session.ws_connect(f"{ends.server.url}/ws")
        for number in range(100):
            params = {"urls": urls[number * 5 : number * 5 + 5], "options": {"timeout": 100}}
            await socket.send_json({"jsonrpc": "2.0", "id": number, "method": "fetch", "params": params})
        async with asyncio.timeout(60):
            while (await ends.ledger())["active"] < 500:
                await asyncio.sleep(0.02)
        await socket.close()
        begun = asyncio.get_running_loop().time()
        await ends.until_quiet()
        assert asyncio.get_running_loop().time() - begun < 30, "not only when their own time is over"


async def test_fairness_a_small_batch_is_not_behind_a_large_one() -> None:
    async with both() as ends:
        large = asyncio.create_task(
            ends.post([f"{ends.upstream.url}/slow/20?{n}" for n in range(2000)], timeout=60)
        )
        while (await ends.ledger())["kinds"].get("slow", 0) < 20:
            await asyncio.sleep(0.01)
        small = await asyncio.gather(
            *(ends.post([f"{ends.upstream.url}/slow/20?{who}-{n}" for n in range(2)]) for who in range(10))
        )
        assert all(answer["ok"] == 2 for answer in small)
        assert not large.done()
        assert (await ends.ledger())["most_active"] <= 20
        large.cancel()
        await asyncio.gather(large, return_exceptions=True)
