"""A process that runs out of descriptors or memory: who is refused, who is served, and that it recovers."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
import websockets

from tests.end_to_end.processes import Process, listening, service
from tests.end_to_end.test_floods import call, healthy, raw

SERVE = f"exec {sys.executable} -m service serve --port 0"


def with_descriptors(most: int, *options: str):  # type: ignore[no-untyped-def]
    """Run the service with so many descriptors."""
    return listening("sh", "-c", f"ulimit -n {most} && {SERVE} {' '.join(options)}")


@contextlib.asynccontextmanager
async def asking(server: Process) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that makes a connection for each request, as a probe does."""
    async with aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def ready(session: aiohttp.ClientSession) -> tuple[int, str]:
    """Ask until there is a descriptor for the answer; return the status and what is short."""
    while True:
        try:
            async with session.get("/readyz") as answer:
                return answer.status, (await answer.json()).get("why", "")
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)


async def test_silent_connections_that_take_every_descriptor_are_cleared_away() -> None:
    limits = ("--websockets", "80", "--connections", "20", "--upstream", "20", "--handshake-time", "300")
    async with with_descriptors(240, *limits) as server, asking(server) as session, healthy(server) as others:
        assert await ready(session) == (200, "")
        before = others["answers"]
        async with raw(server, 600) as opened:
            # All but those that fit are gone long before the time of a handshake is over, and there is room again.
            ends = [asyncio.ensure_future(reader.read()) for reader, _ in opened]
            async with asyncio.timeout(60):
                while sum(end.done() for end in ends) < 450:
                    await asyncio.wait([end for end in ends if not end.done()], return_when="FIRST_COMPLETED")
            while others["answers"] < before + 20:
                await asyncio.sleep(0.01)
        while (await ready(session))[0] != 200:
            await asyncio.sleep(0.1)
        async with websockets.connect(f"ws://{server.authority}/ws") as client:
            assert (await call(client, "ping"))["result"] == {}
    lines = server.errors.decode().splitlines()
    assert len(lines) < 20, lines[:30]
    assert any("connections wait: descriptors are short" in line for line in lines), lines


async def test_it_refuses_new_clients_before_its_memory_is_full_and_serves_those_it_has() -> None:
    async with (
        service("--memory-limit", "128MiB", "--rings-size", "256MiB", "--client-bytes", str(1 << 30)) as server,
        asking(server) as session,
        websockets.connect(f"ws://{server.authority}/ws", max_size=None) as publisher,
    ):
        assert await ready(session) == (200, "")
        data = "x" * 60_000
        for number in range(2000):
            answer = await call(publisher, "publish", topic=f"t{number}", data=data)
            assert "result" in answer, answer
            if number % 50 == 0 and (await ready(session))[0] == 503:
                break
        status, why = await ready(session)
        while status != 503:
            await asyncio.sleep(0.1)
            status, why = await ready(session)
        assert why.startswith("memory")
        for path, status in (("/healthz", 200), ("/metrics", 200), ("/topics/t1", 503)):
            async with session.get(path) as refused:
                assert refused.status == status
        assert int(refused.headers["Retry-After"]) >= 5
        with pytest.raises(websockets.InvalidStatus) as full:
            await websockets.connect(f"ws://{server.authority}/ws")
        assert full.value.response.status_code == 503
        assert orjson.loads(full.value.response.body or b"")["reason"] == "overloaded"
        assert (await call(publisher, "ping"))["result"] == {}
