"""Watches with ``--data``, through kills: who comes back with a position gets what has changed, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.processes import service
from tests.end_to_end.test_data import again


class Page:
    """A document with an ETag, and how often it was asked for, with and without conditions."""

    def __init__(self) -> None:
        self.body = {"text": "one"}
        self.url = ""
        self.port = 0
        self.whole = 0
        self.conditional = asyncio.Semaphore(0)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer 304 to a client that has the present version."""
        etag = f'"{self.body["text"]}"'
        if request.headers.get("If-None-Match") == etag:
            self.conditional.release()
            return web.Response(status=304, headers={"ETag": etag})
        self.whole += 1
        return web.json_response(self.body, headers={"ETag": etag})

    async def asked(self, times: int) -> None:
        """Wait until it was asked for under conditions so many times more."""
        async with asyncio.timeout(60):
            while not self.conditional.locked():
                await self.conditional.acquire()
            for _ in range(times):
                await self.conditional.acquire()


@asynccontextmanager
async def upstream() -> AsyncIterator[Page]:
    """Serve a page."""
    page, app = Page(), web.Application()
    app.router.add_get("/page", page.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    page.port = runner.addresses[0][1]
    page.url = f"http://127.0.0.1:{page.port}/page"
    try:
        yield page
    finally:
        await runner.cleanup()


@asynccontextmanager
async def stream(
    url: str, params: dict[str, str], since: str = ""
) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """Watch over HTTP; the iterator has the id and the data of each event."""

    async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
        id_, name = "", ""
        async for line in response.content:
            if line.startswith(b"id: "):
                id_ = line[4:].decode().strip()
            elif line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                data, begins, name = json.loads(line[6:]), name == "start", ""
                if not begins:
                    yield id_, data
                elif since:
                    assert data["recovered"]

    headers = {"Last-Event-ID": since} if since else {}
    async with (
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120)) as session,
        session.get("/watch", params=params, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield events(response)


@pytest.mark.parametrize("select", [None, "/text"])
async def test_a_watcher_that_comes_back_after_a_kill_gets_what_changed_and_nothing_else(
    tmp_path: Path, select: str | None
) -> None:
    async with upstream() as page:
        options = ("--data", str(tmp_path / "data"), "--allow-net", "127.0.0.1/32", "--allow-port", str(page.port))
        params = {"url": page.url, "every": "1", **({"select": select} if select else {})}
        async with service(*options) as first:
            port = first.port
            async with stream(first.url, params) as events:
                id_, state = await anext(events)
                assert (state["event"], id_.partition(":")[2]) == ("state", "1")
                # Killed at once: what was sent is stored.
                await first.kill()
        epoch = id_.partition(":")[0]

        second = await again(port, *options)
        whole = page.whole
        async with stream(second.url, params, id_) as events:
            await page.asked(2)
            assert page.whole == whole, "the validators were kept"
            page.body = {"text": "two"}
            id_, changed = await anext(events)
            assert (id_, changed["event"], changed["body"]) == (f"{epoch}:2", "changed", body(page, select))
        await second.kill()

        page.body = {"text": "three"}
        third = await again(port, *options)
        async with (
            aiohttp.ClientSession(third.url) as session,
            session.ws_connect("/ws", protocols=("sluice.v1",)) as socket,
        ):
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch",
                                    "params": {**params, "every": 1, "since": id_}})  # fmt: skip
            result = (await socket.receive_json(timeout=60))["result"]
            assert (result["epoch"], result["offset"], result["recovered"]) == (epoch, 2, True)
            message = (await socket.receive_json(timeout=60))["params"]
            assert (message["offset"], message["data"]["body"]) == (3, body(page, select))
            status = await (await session.get(f"/topics/{result['topic']}")).json()
            assert status["durable"] is True
        await third.stop()


def body(page: Page, select: str | None) -> str:
    """Return what a watch sends of the page."""
    return json.dumps(page.body["text"] if select else page.body)
