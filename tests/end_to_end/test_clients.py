"""Clients that others wrote: Python's websockets, Node's ws, a page in Chromium, and nginx as the upstream."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import websockets

from tests.end_to_end.processes import Process, nginx, origin, program, run, service, start


class Caller:
    """JSON-RPC over a connection of the package websockets."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Any] = []

    async def call(self, method: str, **params: Any) -> Any:
        await self.socket.send(
            orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).decode()
        )
        while True:
            value = orjson.loads(await self.socket.recv())
            if "id" in value:
                return value.get("result") or value["error"]
            self.messages.append(value["params"])

    async def take(self, count: int) -> list[Any]:
        while len(self.messages) < count:
            self.messages.append(orjson.loads(await self.socket.recv())["params"])
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken


async def test_websockets_with_its_default_compression_offer() -> None:
    async with (
        service() as server,
        websockets.connect(
            f"ws://{server.authority}/ws", subprotocols=[websockets.Subprotocol("sluice.v1")]
        ) as socket,
    ):
        assert socket.subprotocol == "sluice.v1"
        caller = Caller(socket)
        start = await caller.call("subscribe", topic="t")
        published = [await caller.call("publish", topic="t", data={"n": n}) for n in range(50)]
        assert [message["offset"] for message in await caller.take(50)] == [p["offset"] for p in published]
        pong = await caller.socket.ping()
        await asyncio.wait_for(pong, 5)
        assert start["recovered"] is False


async def test_nodes_ws_subscribes_publishes_and_resumes() -> None:
    node = program("node", "Debian: nodejs")
    if not Path("/usr/share/nodejs/ws").exists():
        pytest.skip("the package ws is not installed (Debian: node-ws)")
    async with service() as server:
        script = str(Path(__file__).parent / "client.js")
        env = {"NODE_PATH": "/usr/share/nodejs"}
        code, out, err = await run(node, script, f"ws://{server.authority}/ws", env=env)
    assert code == 0, err
    assert orjson.loads(out) == {
        "protocol": "sluice.v1",
        "extensions": "",
        "recovered": True,
        "offsets": list(range(1, 11)),
        "data": list(range(1, 11)),
    }


async def test_a_thousand_urls_from_nginx() -> None:
    async with (
        nginx("location / { root FOLDER; rewrite ^ /page break; }") as port,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(port)) as server,
        aiohttp.ClientSession() as session,
    ):
        body = {"urls": [f"http://127.0.0.1:{port}/{number}" for number in range(1000)]}
        async with session.post(f"{server.url}/fetch-batch", json=body) as answer:
            document = orjson.loads(await answer.read())
    assert (document["ok"], document["failed"], document["by_status"]) == (1000, 0, {"200": 1000})
    assert {result["body"] for result in document["results"]} == {"x" * 1024}
    assert document["results"][0]["headers"]["server"].startswith("nginx")


class Page:
    """A page in headless Chromium, over the DevTools protocol."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.number = 0

    async def evaluate(self, expression: str) -> Any:
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        while True:
            self.number += 1
            request = {"id": self.number, "method": "Runtime.evaluate", "params": params}
            await self.socket.send(orjson.dumps(request).decode())
            while (answer := orjson.loads(await self.socket.recv())).get("id") != self.number:
                pass
            if "error" not in answer:  # the page was still being loaded
                assert "exceptionDetails" not in answer["result"], answer
                return answer["result"]["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait in the page until the expression is true."""
        return await self.evaluate(
            "new Promise(resolve => { const look = () => { let value; try { value = " + expression + " } catch {} "
            "value ? resolve(value) : setTimeout(look, 20) }; look() })"
        )


@asynccontextmanager
async def chromium(url: str) -> AsyncIterator[Page]:
    binary = program("chromium", "Debian: chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = await start(
            binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", url,
        )  # fmt: skip
        try:
            assert browser.process.stderr is not None
            while b"DevTools listening" not in (line := await browser.process.stderr.readline()):
                assert line, "the browser ended"
            port = line.decode().split(":")[2].split("/")[0]
            async with aiohttp.ClientSession() as session:
                while True:
                    async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                        pages = [
                            page for page in await answer.json() if page["type"] == "page" and url in page["url"]
                        ]
                    if pages:
                        break
            async with websockets.connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Page(socket)
        finally:
            await browser.stop()


async def fetch_in_page(page: Page, upstream: Process) -> None:
    urls = "\\n".join(f"{upstream.url}/bytes/{size}" for size in (10, 20, 30))
    await page.evaluate(
        f"document.getElementById('urls').value = '{urls}'; document.getElementById('fetch').requestSubmit()"
    )
    done = await page.until("document.getElementById('progress-text').textContent.startsWith('done') && "
                            "document.getElementById('progress-text').textContent")  # fmt: skip
    assert done.startswith("done: 3 fetched, 0 failed")
    cells = await page.evaluate(
        "[...document.querySelectorAll('#results td:nth-child(4)')].map(cell => cell.textContent)"
    )
    assert sorted(cells) == ["10", "20", "30"]


async def test_the_page_in_chromium_fetches_and_publishes() -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        chromium(server.url) as page,
    ):
        await page.until("document.getElementById('state').textContent === 'connected'")
        await page.until("document.querySelectorAll('#figures dd').length > 5")
        await fetch_in_page(page, upstream)
        await page.evaluate("document.getElementById('open').requestSubmit()")
        await page.until("!document.getElementById('send').disabled")
        await page.evaluate("document.getElementById('message').value = '{\"a\": 1}'; "
                            "document.getElementById('publish').requestSubmit()")  # fmt: skip
        assert await page.until("document.querySelector('#messages li')?.textContent") == '{"a":1}'


async def test_the_page_asks_for_the_token_where_one_is_needed() -> None:
    async with service(env={"SLUICE_TOKEN": "right"}) as server, chromium(server.url) as page:
        await page.until("!document.getElementById('login').hidden")
        await page.evaluate("document.getElementById('token').value = 'wrong'; "
                            "document.getElementById('login').requestSubmit()")  # fmt: skip
        await page.until("document.getElementById('state').textContent === 'the token is not valid'")
        await page.evaluate("document.getElementById('token').value = 'right'; "
                            "document.getElementById('login').requestSubmit()")  # fmt: skip
        await page.until("document.getElementById('state').textContent === 'connected'")
