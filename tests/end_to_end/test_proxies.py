"""The proxies of docs/operations.md in front of real instances: every way of reading, and one instance draining."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import websockets

from tests.end_to_end import proxies
from tests.end_to_end.held import holding
from tests.end_to_end.processes import Process, service
from tests.end_to_end.proxies import Proxy

Front = Callable[[int, int], AbstractAsyncContextManager[Proxy]]
FRONTS = [pytest.param(proxies.nginx, id="nginx"), pytest.param(proxies.haproxy, id="haproxy")]


@asynccontextmanager
async def behind(front: Front, *options: str) -> AsyncIterator[tuple[Proxy, list[Process], aiohttp.ClientSession]]:
    """Run two instances behind a proxy."""
    async with (
        service("--heartbeat", "5", "--drain", "60", "--trust-proxy", "127.0.0.1/32", *options) as one,
        service("--heartbeat", "5", "--drain", "60", "--trust-proxy", "127.0.0.1/32", *options) as two,
        front(one.port, two.port) as proxy,
        aiohttp.ClientSession(proxy.url, connector=aiohttp.TCPConnector(ssl=proxy.tls or True)) as session,
    ):
        yield proxy, [one, two], session


async def event_of(response: aiohttp.ClientResponse) -> Any:
    """Return the next line that is not a heartbeat."""
    while (value := orjson.loads(await asyncio.wait_for(response.content.readline(), 60)))["event"] == "heartbeat":
        pass
    return value


def connected(proxy: Proxy) -> Any:
    return websockets.connect(
        f"wss://localhost:{proxy.port}/ws",
        ssl=proxy.tls,
        origin=websockets.Origin(proxy.url),
        subprotocols=[websockets.Subprotocol("sluice.v1")],
    )


async def call(socket: Any, method: str, **params: Any) -> Any:
    await socket.send(orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).decode())
    return orjson.loads(await asyncio.wait_for(socket.recv(), 60))["result"]


@pytest.mark.parametrize("front", FRONTS)
async def test_a_websocket_of_a_page_behind_the_proxy(front: Front) -> None:
    async with behind(front) as (proxy, _, _), connected(proxy) as socket:
        await call(socket, "subscribe", topic="t")
        await call(socket, "publish", topic="t", data="x" * 30_000)
        assert orjson.loads(await asyncio.wait_for(socket.recv(), 60))["params"]["offset"] == 1


@pytest.mark.parametrize("front", FRONTS)
async def test_a_batch_comes_piece_by_piece(front: Front) -> None:
    async with holding() as upstream, behind(front, *upstream.options) as (_, _, session):
        body = {"urls": [f"{upstream.url}/now", f"{upstream.url}/held"], "options": {"timeout": 60}}
        async with session.post("/fetch-batch", json=body, headers={"Accept": "application/x-ndjson"}) as answer:
            # The second is not answered before the first has come through.
            assert (await event_of(answer))["index"] == 0
            upstream.release()
            assert (await event_of(answer))["index"] == 1
            assert (await event_of(answer))["ok"] == 2


@pytest.mark.parametrize("front", FRONTS)
async def test_a_topic_as_server_sent_events(front: Front) -> None:
    async with (
        behind(front) as (_, _, session),
        session.get("/topics/t/events", headers={"Accept": "text/event-stream"}) as stream,
    ):
        assert b"event: start" in await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 60)
        for number in range(8):
            # Over a connection of its own each: all of them meet the reader at the one instance that has the topic.
            async with session.post("/topics/t", json=number, headers={"Connection": "close"}) as answer:
                assert (await answer.json())["readers"] == 1
            reported = b": heartbeat\n\n"
            while reported.startswith(b":"):
                reported = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 60)
            assert b"data: %d\n" % number in reported


@pytest.mark.parametrize("front", FRONTS)
async def test_what_a_client_says_of_itself_does_not_come_through(front: Front) -> None:
    """A page elsewhere is refused by its Origin, which is compared with the Host that the proxy passes on."""
    async with behind(front) as (proxy, _, session):
        for headers in ({"Origin": "https://elsewhere.example"}, {"Host": "elsewhere.example"}):
            async with session.get("/topics/t", headers=headers) as answer:
                assert answer.status == 403
        async with session.get("/topics/t", headers={"Origin": proxy.url}) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("front", FRONTS)
async def test_while_one_instance_drains_the_other_takes_all_that_is_new(front: Front) -> None:
    async with holding() as upstream, behind(front, *upstream.options) as (proxy, (one, two), session):
        # A batch keeps the first instance in its drain for as long as this test looks at it.
        held = {"urls": [f"{upstream.url}/held"], "options": {"timeout": 60}}
        headers = {"Accept": "application/x-ndjson"}
        async with session.post(f"{one.url}/fetch-batch", json=held, headers=headers) as running:
            one.process.send_signal(signal.SIGTERM)
            await status_of(session, f"{one.url}/readyz", 503)
            # HAProxy finds out by its next check.
            await status_of(session, "/readyz", 200)
            for _ in range(10):
                async with connected(proxy) as socket:
                    await call(socket, "subscribe", topic="t")
                async with session.get("/readyz") as answer:
                    assert answer.status == 200
            upstream.release()
            reported = [orjson.loads(text)["event"] async for text in running.content]
        assert [event for event in reported if event != "heartbeat"] == ["result", "done"]
        assert await one.ended() == 0
        async with session.get(f"{two.url}/metrics") as answer:
            assert "sluice_upgrades_total 10.0" in await answer.text()


async def status_of(session: aiohttp.ClientSession, url: str, wanted: int) -> None:
    """Ask until the answer has this status."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(url) as answer:
                if answer.status == wanted:
                    return
            await asyncio.sleep(0.02)  # a state of another process


@pytest.mark.parametrize("front", FRONTS)
async def test_a_full_instance_sends_nobody_to_its_backup(front: Front) -> None:
    """The backup has other topics: who lands there by itself would wait for messages that never come."""
    async with behind(front, "--websockets", "1") as (proxy, (_, backup), session), connected(proxy) as socket:
        await call(socket, "subscribe", topic="t")
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connected(proxy):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        async with session.get(f"{backup.url}/metrics") as answer:
            assert "sluice_upgrades_total 0.0" in await answer.text()


def test_the_settings_of_the_kernel_that_the_document_names_exist() -> None:
    text = (proxies.ROOT / "docs" / "operations.md").read_text()
    table = text[text.index("## Settings of the kernel") : text.index("## Behind a proxy")]
    named = re.findall(r"`((?:net|fs)\.[a-z0-9_.]+)`", "".join(row for row in table.splitlines() if row[:1] == "|"))
    assert len(named) > 6
    for name in named:
        assert Path("/proc/sys", *name.split(".")).exists(), name
