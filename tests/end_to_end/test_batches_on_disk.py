"""Batches over kills of the real process: each URL ends once, what was sent stays, and nobody is asked for it again."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tests.end_to_end.processes import Process, service
from tests.end_to_end.test_data import again

KILLS, URLS = 3, 150
PATIENCE = 90
STUCK = "/stuck"
"""What is not answered before the end."""


@dataclass
class Upstream:
    """Answers each path with its own body, after a moment, and counts who asks."""

    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with 20 KiB that say which path they are of."""
        self.asked[request.path] += 1
        await (self.end.wait() if request.path == STUCK else asyncio.sleep(0.02))
        return web.Response(text=(request.path + " ") * (20_000 // (len(request.path) + 1)))


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """Run one on loopback."""
    here = Upstream()
    app = web.Application()
    app.router.add_get("/{name:.*}", here.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        here.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield here
    finally:
        here.end.set()
        await runner.cleanup()


def options_of(data: Path, origin: Upstream) -> tuple[str, ...]:
    """Return what the service is started with."""
    port = origin.url.rsplit(":", 1)[1]
    return ("--data", str(data), "--allow-net", "127.0.0.0/8", "--allow-port", port, "--upstream-host", "4")


async def begin(server: Process, urls: list[str], key: str | None = None) -> str:
    """Begin a batch that goes on by itself; return its id."""
    headers = {"Prefer": "respond-async"} | ({"Idempotency-Key": f'"{key}"'} if key else {})
    async with aiohttp.ClientSession(server.url) as session:
        body = {"urls": urls, "options": {"cache": "no-store", "timeout": 60}}
        async with session.post("/fetch-batch", json=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            batch: str = (await answer.json())["batch"]
            return batch


async def events(server: Process, batch: str, until: int | None = None) -> list[dict[str, Any]]:
    """Return the events of a batch from its beginning: so many, or all of them."""
    got: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(server.url, read_bufsize=1 << 20) as session,
        session.get(f"/batches/{batch}/events") as answer,
    ):
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            event = orjson.loads(line)
            if event["event"] == "heartbeat":
                continue
            got.append(event)
            if len(got) == until:
                answer.close()
                break
    return got


def exact(got: list[dict[str, Any]], urls: list[str]) -> None:
    """Check that each URL has its own body, once, and that the last event counts them."""
    *before, last = got
    assert sorted(event["index"] for event in before) == list(range(len(urls)))
    assert {event["event"] for event in before} == {"result"}
    for event in before:
        path = event["url"][event["url"].index("/", 8) :]
        assert event["url"] == urls[event["index"]]
        assert set(event["body"].split()) == {path}
    assert (last["event"], last["ok"], last["failed"]) == ("done", len(urls), 0)


async def test_batches_end_exact_though_the_service_is_killed_again_and_again(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with upstream() as origin:
        options = options_of(tmp_path / "data", origin)
        async with service(*options) as server:
            port = server.port
            batches = {name: [f"{origin.url}/{name}/{number}" for number in range(URLS)] for name in ("a", "b")}
            ids = {name: await begin(server, urls, name) for name, urls in batches.items()}
            sent: dict[str, list[dict[str, Any]]] = {name: [] for name in batches}
            for _ in range(KILLS):
                for name, batch in ids.items():
                    wanted = min(len(sent[name]) + chance.randrange(1, 25), URLS)
                    got = await events(server, batch, wanted)
                    assert got[: len(sent[name])] == sent[name], "what was sent is at its place"
                    sent[name] = got
                known = Counter(origin.asked)
                await server.kill()
                server = await again(port, *options)
                done = {event["url"].removeprefix(origin.url) for got in sent.values() for event in got}
                for name, urls in batches.items():
                    assert await begin(server, urls, name) == ids[name], "the key finds its batch"
                assert not [path for path in done if origin.asked[path] > known[path]]
            for name, batch in ids.items():
                got = await events(server, batch)
                assert got[: len(sent[name])] == sent[name]
                exact(got, batches[name])
            await server.kill()
            server = await again(port, *options)
            for name, batch in ids.items():
                exact(await events(server, batch), batches[name])
            await server.stop()


async def test_a_websocket_goes_on_with_its_batch_after_a_kill(tmp_path: Path) -> None:
    async with upstream() as origin:
        options = options_of(tmp_path / "data", origin)
        urls = [f"{origin.url}/{number}" for number in range(100)]
        async with service(*options) as server:
            port = server.port
            async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as socket:
                request = {"urls": urls, "options": {"cache": "no-store", "timeout": 60}}
                await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "fetch", "params": request})
                answer = await socket.receive_json()
                assert answer["id"] == 1, "the answer comes first"
                begun = answer["result"]
                got = [(await socket.receive_json())["params"] for _ in range(30)]
                await server.kill()
            server = await again(port, *options)
            async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as socket:
                since = {"epoch": begun["epoch"], "offset": got[-1]["offset"]}
                subscribe = {"topic": begun["topic"], "since": since}
                await socket.send_json({"jsonrpc": "2.0", "id": 2, "method": "subscribe", "params": subscribe})
                assert (await socket.receive_json())["result"]["recovered"] is True
                async with asyncio.timeout(PATIENCE):
                    while got[-1]["data"]["event"] != "done":
                        got.append((await socket.receive_json())["params"])
            assert [message["offset"] for message in got] == list(range(1, 102))
            exact([message["data"] for message in got], urls)
            await server.stop()


async def test_a_cancelled_batch_is_cancelled_after_a_kill(tmp_path: Path) -> None:
    async with upstream() as origin:
        options = options_of(tmp_path / "data", origin)
        # With one that is never answered: however slow this test is, the batch is not over before it is cancelled.
        urls = [*(f"{origin.url}/{number}" for number in range(URLS - 1)), f"{origin.url}{STUCK}"]
        async with service(*options) as server:
            port = server.port
            batch = await begin(server, urls)
            await events(server, batch, 10)
            async with (
                aiohttp.ClientSession(server.url) as session,
                session.delete(f"/batches/{batch}") as answer,
            ):
                left = (await answer.json())["cancelled"]
            await server.kill()
            server = await again(port, *options)
            *before, last = await events(server, batch)
            assert sorted(event["index"] for event in before) == list(range(URLS))
            # An answer that comes while the cancel is being stored had ended its URL, and is lost with the process.
            assert sum(event.get("error") == "cancelled" for event in before) == last["failed"] >= left > 0
            await server.stop()
