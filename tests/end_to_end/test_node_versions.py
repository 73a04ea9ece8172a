"""sluice.js in the versions of Node that its users have, over Node's own WebSocket and that of the package ws."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.cutting import Cutter
from tests.end_to_end.npm import node, packages
from tests.end_to_end.processes import ROOT, Process, free_port, service, start

SCRIPT = Path(__file__).parent / "node_version.mjs"
MODULE = ROOT / "service" / "edge" / "static" / "sluice.js"
ANSWERS = (0, 200, 302, 502)
"""What the first connections get instead of an upgrade, as of a proxy; 0 is nothing at all."""
RUNTIMES = {
    "20, native": (20, "--experimental-websocket"),
    "20, ws": (20, "ws"),
    "22, native": (22, ""),
    "22, ws": (22, "ws"),
    "24, native": (24, ""),
    "24, ws": (24, "ws"),
}


class Absent(Cutter):
    """A proxy that is away first, then answers for its service, and then passes on."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._answers = list(ANSWERS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._answers:
            return await super().serve(reader, writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return writer.close()  # Node 24 opens connections that it does not use
        status = self._answers.pop(0)
        if status:
            writer.write(b"HTTP/1.1 %d Said\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno" % status)
        # The connection stays: whether it ends is the client's part.
        await asyncio.wait_for(reader.read(), 60)
        writer.close()


class Client:
    """A Node process, and what it tells."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.reported: list[dict[str, Any]] = []

    async def until(self, **parts: Any) -> None:
        """Wait until it tells something with these parts."""
        try:
            async with asyncio.timeout(60):
                while not self.reported or not parts.items() <= self.reported[-1].items():
                    line = await self.process.line()
                    assert line, f"Node {self.name} has ended"
                    self.reported.append(json.loads(line))
        except TimeoutError:
            pytest.fail(f"Node {self.name} never tells {parts}, but {self.reported}")

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        rest, _ = await asyncio.wait_for(self.process.process.communicate(), 60)
        self.reported += map(json.loads, rest.splitlines())
        assert self.process.process.returncode == 0, self.name


@asynccontextmanager
async def client(name: str, target: int) -> AsyncIterator[Client]:
    """Run a client whose port opens after its first attempt."""
    version, how = RUNTIMES[name]
    port = free_port()
    options = (how,) if how.startswith("--") else ()
    more = (str(packages()),) if how == "ws" else ()
    process = await start(
        node(version), *options, "--no-warnings", str(SCRIPT), str(MODULE), f"http://127.0.0.1:{port}", *more
    )
    found = Client(name, process)
    absent = Absent(target)
    server = None
    try:
        await found.until(state="waiting")
        server = await asyncio.start_server(absent.serve, "127.0.0.1", port)
        yield found
    finally:
        await process.close()
        if server is not None:
            server.close()
        absent.cut()


async def publish(server: Process, data: Any) -> None:
    async with aiohttp.ClientSession(server.url) as session, session.post("/topics/t", json=data) as answer:
        assert answer.status == 200


@pytest.mark.seconds(17)
async def test_behind_any_fault_it_connects_at_last_settles_every_call_and_ends() -> None:
    async with service("--drain", "1") as first, AsyncExitStack() as running:
        await publish(first, "first")
        clients = [await running.enter_async_context(client(name, first.port)) for name in RUNTIMES]
        for one in clients:
            await one.until(state="open")
        for one in clients:
            tries = [reported for reported in one.reported if reported.get("state") == "waiting"]
            assert {reported["code"] for reported in tries} == {1006}, one.name
            timed_out = [reported["reason"] == "no answer in time" for reported in tries[-len(ANSWERS) :]]
            assert timed_out == [status == 0 for status in ANSWERS], f"{one.name}: what is answered ends at once"
            await one.until(name="early")
        first.process.send_signal(signal.SIGTERM)
        for one in clients:
            await one.until(state="closing")
        await first.ended()
        async with service("--port", str(first.port)) as second:
            await publish(second, "last")
            for one in clients:
                await one.until(name="loop")
                await one.ended()
    for one in clients:
        items = [reported["item"] for reported in one.reported if "item" in reported]
        assert [item.get("data", "restart") for item in items] == ["first", "restart", "last"], one.name
        settled = {reported["name"]: reported.get("failed") for reported in one.reported if "name" in reported}
        assert settled == {"early": None, "late": None, "unanswered": "closed", "loop": None}, one.name
