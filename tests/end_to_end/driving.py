"""Clients of the JavaScript module in a Node process, which runs commands and prints the outcome of them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from service.client import BatchEvent, Gap, Message, Position, Restart, Value, WatchEvent
from service.client.events import read_event
from tests.end_to_end.processes import Process, program, start

HERE = Path(__file__).parent


def node() -> str:
    """Return Node's path, or skip."""
    if not Path("/usr/share/nodejs/ws").exists():
        pytest.skip("the package ws is not installed (Debian: node-ws)")
    return program("node", "Debian: nodejs")


class Driver:
    """A Node process with clients by number; each event that it prints is kept by the name that it was given."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.reported: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._followed: dict[str, asyncio.Queue[dict[str, Any]]] = {}

    async def listen(self) -> None:
        """Take what it tells, until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            reported = orjson.loads(line)
            if (queue := self._followed.get(reported.get("name"))) is not None:
                queue.put_nowait(reported)
                continue
            self.reported.append(reported)
            async with self._news:
                self._news.notify_all()
        for queue in self._followed.values():
            queue.put_nowait({"error": "Node has ended"})

    async def do(self, method: str, *args: Any, name: str = "a", **more: Any) -> None:
        """Begin something; ``name`` is under which it tells the outcome of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps({"name": name, "method": method, "args": args, **more}) + b"\n")
        await self.process.stdin.drain()

    @contextmanager
    def following(self, name: str) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Have all that it tells under a name in a queue instead: where that is too much to look through."""
        queue = self._followed[name] = asyncio.Queue()
        try:
            yield queue
        finally:
            del self._followed[name]

    async def call(self, method: str, *args: Any, name: str = "call") -> Any:
        """Do something that is answered, and return the answer."""
        await self.do(method, *args, name=name)
        return (await self.until(lambda reported: reported.get("name") == name and "answer" in reported))["answer"]

    async def until(self, fits: Callable[[dict[str, Any]], bool], within: float = 60) -> dict[str, Any]:
        """Wait for something that it has printed or prints, forget it, and return it."""
        async with asyncio.timeout(within), self._news:
            while not (found := next((reported for reported in self.reported if fits(reported)), None)):
                await self._news.wait()
        self.reported.remove(found)
        return found

    async def state(self, state: str) -> dict[str, Any]:
        """Wait until the connection is that far."""
        return await self.until(lambda reported: reported.get("state") == state)

    async def items(self, count: int, name: str = "a") -> list[Any]:
        """Wait for this many items of a stream, and take them."""
        return [
            (await self.until(lambda reported: reported.get("name") == name and "item" in reported))["item"]
            for _ in range(count)
        ]

    async def rest(self, name: str = "a") -> list[Any]:
        """Wait for the end of a stream, and return all that was not taken."""
        await self.until(lambda reported: reported.get("name") == name and "end" in reported)
        return [
            reported["item"] for reported in self.reported if reported.get("name") == name and "item" in reported
        ]


class JavaScriptClient:
    """One client of a driver, with the calls and values of the Python client, so that one test does for both."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number
        self._names = (f"{number}-{count}" for count in itertools.count())

    async def subscribe(self, topic: str, *, since: str) -> AsyncIterator[Value]:
        async for item in self._items("subscribe", topic, {"since": since}):
            yield _said_of_itself(item) or Message(**item)

    async def watch(self, url: str, *, every: float) -> AsyncIterator[WatchEvent]:
        async for item in self._items("watch", url, {"every": every}):
            yield _said_of_itself(item) or read_event(Message(url, "", 0, item))

    async def fetch(self, urls: list[str], **options: Any) -> AsyncIterator[BatchEvent]:
        async for item in self._items("fetch", urls, options):
            yield _said_of_itself(item) or read_event(Message("", "", 0, item))

    async def publish(self, topic: str, data: Any) -> Position:
        with self._following() as (do, reported):
            await do("publish", topic, data)
            return Position(**(await reported.get())["answer"])

    async def _items(self, method: str, *args: Any) -> AsyncIterator[dict[str, Any]]:
        with self._following() as (do, reported):
            await do(method, *args)
            while "end" not in (value := await reported.get()):
                assert "error" not in value, value
                if "item" in value:
                    yield value["item"]

    @contextmanager
    def _following(self) -> Iterator[tuple[Callable[..., Awaitable[None]], asyncio.Queue[dict[str, Any]]]]:
        """Return how to begin something, and what is printed of it."""
        name = next(self._names)
        with self._driver.following(name) as reported:
            yield partial(self._driver.do, name=name, client=self._number), reported


def _said_of_itself(item: dict[str, Any]) -> Gap | Restart | None:
    if gap := item.get("gap"):
        return Gap(gap["from"], gap["to"])
    return Restart(**item["restart"]) if "restart" in item else None


@asynccontextmanager
async def driver(tmp_path: Path, server: Process, port: int, **options: Any) -> AsyncIterator[Driver]:
    """Run clients that connect to a port, with the module that the service gives out."""
    binary, module = node(), tmp_path / "sluice.mjs"
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/static/sluice.js") as answer:
        assert answer.content_type == "text/javascript"
        module.write_bytes(await answer.read())
    node_process = await start(
        binary, str(HERE / "driver.mjs"), str(module), f"http://127.0.0.1:{port}", orjson.dumps(options).decode(),
        env={"NODE_PATH": "/usr/share/nodejs"}, stdin=asyncio.subprocess.PIPE, stderr=None, limit=1 << 25,
    )  # fmt: skip
    client = Driver(node_process.process)
    listening = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        await node_process.kill()
        await listening
        await node_process.close()
