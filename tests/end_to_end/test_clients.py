"""Clients that others wrote: Python's websockets, Node's ws, and nginx as the upstream."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import websockets

from tests.end_to_end.processes import nginx, program, run, service


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
        await asyncio.wait_for(pong, 60)
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
