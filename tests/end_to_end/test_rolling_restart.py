"""Two instances behind nginx, restarted one after the other: what clients get, and what they are told of."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from service.client import Backoff, Client, Gap, Message, Position, Restart, Value
from tests.end_to_end.processes import Process, listening, nginx, origin, service

# The first is asked first; who finds it gone or draining goes to the second.
PAIR = """
proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
proxy_set_header Host localhost; proxy_intercept_errors on;
location / {{ proxy_pass http://127.0.0.1:{first}; error_page 502 503 504 = @second; }}
location @second {{ proxy_pass http://127.0.0.1:{second}; }}
"""
OPTIONS = ("--drain", "4", "--client-rate", "100000")


class Reader:
    """One reader of the topic: all that it got, and when it has moved."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.values: list[Value] = []
        self.news = asyncio.Event()

    @property
    def epoch(self) -> str | None:
        found = [value.epoch for value in self.values if not isinstance(value, Gap)]
        return found[-1] if found else None

    async def read(self) -> None:
        """Read to the message "last"."""
        async with Client(self.url, backoff=Backoff(0.1, 1.0)) as client:
            async for value in client.subscribe("t", since="oldest"):
                self.values.append(value)
                self.news.set()
                if isinstance(value, Message) and value.data == "last":
                    return

    async def moved(self, epochs: set[str | None]) -> None:
        """Wait until it reads another epoch than these."""
        while self.epoch in epochs:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 30)

    def positions(self) -> list[Position]:
        return [value.position for value in self.values if isinstance(value, Message)]


# The JavaScript client belongs here as soon as it is part of the tree.
HELPERS: list[Callable[[str], Reader]] = [Reader]


class Publishing:
    """Publishes without a pause, and knows what was accepted where."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.accepted: list[Position] = []
        self.stopped = False

    async def run(self) -> None:
        while not self.stopped:
            self.accepted.append(await self.client.publish("t", len(self.accepted)))
            await asyncio.sleep(0.005)


def check(reader: Reader) -> None:
    """Each offset of each epoch once and in order, and another epoch only where that is told."""
    epoch, offset = None, 0
    for value in reader.values:
        if isinstance(value, Restart):
            assert value.epoch != epoch
            epoch, offset = value.epoch, value.offset
        elif isinstance(value, Gap):
            assert value.first == offset + 1
            offset = value.last
        else:
            assert epoch in (None, value.epoch)
            assert value.offset == offset + 1
            epoch, offset = value.epoch, value.offset


@asynccontextmanager
async def stopping(process: Process) -> AsyncIterator[None]:
    """Drain an instance; the block runs while it does, and it ends well."""
    process.process.send_signal(signal.SIGTERM)
    yield
    assert await process.ended() == 0


def again(process: Process) -> Any:
    return listening(sys.executable, "-m", "service", "serve", "--port", str(process.port), *OPTIONS)


async def all_moved(readers: list[Reader], epochs: set[str | None]) -> None:
    await asyncio.gather(*(reader.moved(epochs) for reader in readers))


@pytest.mark.parametrize("helper", HELPERS)
async def test_nobody_loses_what_a_position_can_recover_and_all_else_is_told(
    helper: Callable[[str], Reader],
) -> None:
    async with AsyncExitStack() as stack:
        enter: Callable[[Any], Awaitable[Any]] = stack.enter_async_context
        one, two = await enter(service(*OPTIONS)), await enter(service(*OPTIONS))
        url = f"http://127.0.0.1:{await enter(nginx(PAIR.format(first=one.port, second=two.port)))}"
        group = await enter(asyncio.TaskGroup())
        readers = [helper(url) for _ in range(20)]
        for reader in readers:
            group.create_task(reader.read())
        publishing = [Publishing(await enter(Client(url, backoff=Backoff(0.1, 1.0)))) for _ in range(2)]
        publishers = [asyncio.create_task(one_of.run()) for one_of in publishing]
        await all_moved(readers, {None})
        before = [publisher.accepted[-1] for publisher in publishing]
        first_epoch = before[0].epoch
        async with stopping(one):
            await all_moved(readers, {None, first_epoch})
        second_epoch = readers[0].epoch
        assert {reader.epoch for reader in readers} == {second_epoch}
        await enter(again(one))
        middle = [publisher.accepted[-1] for publisher in publishing]
        async with stopping(two):
            await all_moved(readers, {None, first_epoch, second_epoch})
        await enter(again(two))
        for publisher in publishing:
            publisher.stopped = True
        await asyncio.gather(*publishers)
        last = await publishing[0].client.publish("t", "last")
    accepted = {position for publisher in publishing for position in publisher.accepted} | {last}
    for reader in readers:
        check(reader)
        got = set(reader.positions())
        had = {
            position
            for position in accepted
            if any(position.epoch == known.epoch and position.offset <= known.offset for known in before + middle)
        }
        assert had <= got, "what was accepted before a drain began reaches everyone"
        assert {position for position in accepted if position.epoch == last.epoch} <= got
        restarts = [value.epoch for value in reader.values if isinstance(value, Restart)]
        assert restarts == [second_epoch, last.epoch], "the rest is told"
    assert len(accepted) > 200


async def test_a_batch_that_runs_when_its_instance_is_stopped_ends_first() -> None:
    async with AsyncExitStack() as stack:
        enter: Callable[[Any], Awaitable[Any]] = stack.enter_async_context
        upstream = await enter(origin())
        options = (*OPTIONS, "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
        one, two = await enter(service(*options)), await enter(service(*options))
        url = f"http://127.0.0.1:{await enter(nginx(PAIR.format(first=one.port, second=two.port)))}"
        client = await enter(Client(url, backoff=Backoff(0.1, 1.0)))
        events = aiter(client.fetch([f"{upstream.url}/slow/{ms}" for ms in (1, 1500)]))
        assert (await anext(events))["event"] == "result"
        async with stopping(one):
            assert [event["event"] async for event in events] == ["result", "done"]
        assert [event["event"] async for event in client.fetch([f"{upstream.url}/bytes/1"])] == ["result", "done"]
