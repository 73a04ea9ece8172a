"""Two instances behind nginx, restarted one after the other: what clients get, and what is reported to them."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.client import (
    Backoff,
    Client,
    Done,
    Failed,
    Gap,
    Message,
    Position,
    Restart,
    Result,
    Value,
    WatchState,
)  # fmt: skip
from tests.end_to_end import proxies
from tests.end_to_end.driving import JavaScriptClient, driver
from tests.end_to_end.processes import Process, listening, origin, service

OPTIONS = ("--drain", "3", "--client-rate", "100000")
READERS, PUBLISHERS, WATCHERS = 20, 2, 3

AnyClient = Client | JavaScriptClient
Helper = Callable[[Process, int, Path, int], AbstractAsyncContextManager[list[AnyClient]]]


@asynccontextmanager
async def python(server: Process, port: int, folder: Path, count: int) -> AsyncIterator[list[AnyClient]]:
    """Run so many Python clients that connect to a port."""
    async with AsyncExitStack() as stack:
        clients = [Client(f"http://127.0.0.1:{port}", backoff=Backoff(0.1, 1.0)) for _ in range(count)]
        yield [await stack.enter_async_context(client) for client in clients]


@asynccontextmanager
async def javascript(server: Process, port: int, folder: Path, count: int) -> AsyncIterator[list[AnyClient]]:
    """Run so many clients of the module that an instance gives out."""
    async with driver(folder, server, port) as process:
        yield [JavaScriptClient(process, number) for number in range(count)]


class Guest:
    """A client's user that goes from one instance to the next; ``met`` are the epochs that it has come to."""

    def __init__(self, client: AnyClient) -> None:
        self.client = client
        self.met: list[str] = []
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Do what its kind of user does, until the client is closed."""
        raise NotImplementedError

    def at(self, epoch: str) -> None:
        if epoch not in self.met:
            self.met.append(epoch)
            self._moved.set()

    async def moved(self, count: int) -> None:
        """Wait until it has met so many epochs."""
        while len(self.met) < count:
            self._moved.clear()
            await asyncio.wait_for(self._moved.wait(), 60)


class Reader(Guest):
    """Reads the topic, and keeps all that it got."""

    def __init__(self, client: AnyClient) -> None:
        super().__init__(client)
        self.values: list[Value] = []

    async def run(self) -> None:
        """Read to the message "last"."""
        async for value in self.client.subscribe("t", since="oldest"):
            self.values.append(value)
            if not isinstance(value, Gap):
                self.at(value.epoch)
            if isinstance(value, Message) and value.data == "last":
                return


class Publisher(Guest):
    """Publishes without a pause, and knows what was accepted where."""

    def __init__(self, client: AnyClient) -> None:
        super().__init__(client)
        self.accepted: list[Position] = []
        self.stopped = False

    async def run(self) -> None:
        while not self.stopped:
            self.accepted.append(await self.client.publish("t", len(self.accepted)))
            self.at(self.accepted[-1].epoch)
            await asyncio.sleep(0.005)


class Watcher(Guest):
    """Watches what never changes: each instance has a state to tell, once, and it is all that it tells of itself."""

    def __init__(self, client: AnyClient, url: str) -> None:
        super().__init__(client)
        self.url = url
        self.events: list[Any] = []

    async def run(self) -> None:
        """Watch to the third state."""
        async for event in self.client.watch(self.url, every=1):
            self.events.append(event)
            if isinstance(event, WatchState):
                self.at(f"state {len(self.met)}")
            if len(self.met) == 3:
                return


def account(values: list[Value]) -> tuple[set[Position], set[Position]]:
    """Return what was received and what was reported as gone: each offset of each epoch once and in order, and another
    epoch only where that is reported."""
    had, gone = set(), set()
    epoch, offset = None, 0
    for value in values:
        if isinstance(value, Restart):
            assert value.epoch != epoch
            epoch, offset = value.epoch, value.offset
        elif isinstance(value, Gap):
            assert epoch is not None
            assert value.first == offset + 1
            offset = value.last
            gone |= {Position(epoch, missed) for missed in range(value.first, value.last + 1)}
        else:
            assert epoch in (None, value.epoch)
            assert value.offset == offset + 1
            epoch, offset = value.epoch, value.offset
            had.add(value.position)
    return had, gone


@asynccontextmanager
async def stopping(process: Process) -> AsyncIterator[None]:
    """Drain an instance; the block runs while it does, and it ends well."""
    process.process.send_signal(signal.SIGTERM)
    yield
    assert await process.ended() == 0


async def all_moved(guests: list[Guest], count: int) -> None:
    await asyncio.gather(*(guest.moved(count) for guest in guests))


@pytest.mark.parametrize("helper", [python, javascript])
async def test_nobody_loses_what_a_position_can_recover_and_all_else_is_reported(
    helper: Helper, tmp_path: Path
) -> None:
    async with asyncio.timeout(110), AsyncExitStack() as stack:
        enter: Callable[[Any], Awaitable[Any]] = stack.enter_async_context
        upstream = await enter(origin())
        options = (*OPTIONS, "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))

        def again(process: Process) -> Any:
            serve = (sys.executable, "-m", "service", "serve", "--port", str(process.port))
            return listening(*serve, *options)

        one, two = await enter(service(*options)), await enter(service(*options))
        port = (await enter(proxies.nginx(one.port, two.port, tls=False))).port
        batches, *clients = await enter(helper(one, port, tmp_path, 1 + READERS + PUBLISHERS + WATCHERS))
        group = await enter(asyncio.TaskGroup())
        readers = [Reader(clients.pop()) for _ in range(READERS)]
        publishers = [Publisher(clients.pop()) for _ in range(PUBLISHERS)]
        watchers = [Watcher(client, f"{upstream.url}/bytes/5") for client in clients]
        guests = [*readers, *publishers, *watchers]
        tasks = {guest: group.create_task(guest.run()) for guest in guests}

        await all_moved(guests, 1)
        ending = aiter(batches.fetch([f"{upstream.url}/slow/{ms}" for ms in (1, 1000)]))
        assert isinstance(await anext(ending), Result)
        before = [publisher.accepted[-1] for publisher in publishers]
        async with stopping(one):
            assert [type(event) async for event in ending] == [Result, Done], "a batch that runs ends first"
            await all_moved(guests, 2)

        lasting = aiter(batches.fetch([f"{upstream.url}/slow/{ms}" for ms in (1, 60_000)], timeout=100))
        assert isinstance(await anext(lasting), Result)
        await enter(again(one))
        middle = [publisher.accepted[-1] for publisher in publishers]
        async with stopping(two):
            failed, done = [event async for event in lasting]
            assert isinstance(failed, Failed)
            assert isinstance(done, Done)
            assert failed.error == "cancelled", "one that takes too long is notified"
            await all_moved(guests, 3)

        await enter(again(two))
        for publisher in publishers:
            publisher.stopped = True
            await tasks[publisher]
        last = await publishers[0].client.publish("t", "last")
    accepted = {position for publisher in publishers for position in publisher.accepted} | {last}
    assert len(accepted) > 200
    epochs = [before[0].epoch, middle[0].epoch, last.epoch]
    due = {
        position
        for position in accepted
        if any(position.epoch == known.epoch and position.offset <= known.offset for known in before + middle)
    }
    for reader in readers:
        had, gone = account(reader.values)
        assert due <= had, "what was accepted before a drain began reaches everyone"
        assert {position for position in accepted if position.epoch == last.epoch} <= had | gone
        assert reader.met == epochs
        assert [value.epoch for value in reader.values if isinstance(value, Restart)] == epochs[1:], (
            "the rest is reported"
        )
    for watcher in watchers:
        assert [type(event) for event in watcher.events] == [WatchState, Restart, WatchState, Restart, WatchState]
