"""The Python client against the real service: through cuts, kills and drains nothing is lost or comes twice untold."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.client import (
    Backoff,
    Client,
    Disconnected,
    Done,
    Gap,
    Message,
    Position,
    Refused,
    Restart,
    Result,
    Value,
    WatchState,
)  # fmt: skip
from tests.end_to_end.processes import Process, listening, origin, service
from tests.end_to_end.rationed import rationed


def quick() -> Backoff:
    return Backoff(0.05, 0.5)


def again(server: Process, *options: str) -> Any:
    """Run the service once more, where it was."""
    return listening(sys.executable, "-m", "service", "serve", "--port", str(server.port), *options)


async def collect(values: AsyncIterator[Value], until: Any) -> list[Value]:
    """Take values up to the message with this data."""
    taken: list[Value] = []
    async with asyncio.timeout(60):
        async for value in values:
            taken.append(value)
            if isinstance(value, Message) and value.data == until:
                return taken
    raise AssertionError("it ended")


def data(values: list[Value]) -> list[Any]:
    return [value.data if isinstance(value, Message) else value for value in values]


async def publish(url: str, numbers: Any, topic: str = "t") -> None:
    async with aiohttp.ClientSession() as session:
        for number in numbers:
            async with session.post(f"{url}/topics/{topic}", json=number) as answer:
                assert answer.status == 200


async def test_fifty_clients_through_hundreds_of_cuts_have_everything_once_and_in_order() -> None:
    chance = random.Random(6)
    async with (
        service() as server,
        rationed(server.port, lambda: chance.randint(300, 9000)) as proxy,
        asyncio.TaskGroup() as group,
    ):
        readers = []
        for _ in range(50):
            client = Client(proxy.url, backoff=quick())
            readers.append(group.create_task(read(client)))
        await publish(server.url, range(500))
        for values in await asyncio.gather(*readers):
            assert data(values) == list(range(500))
        assert proxy.accepted > 300


async def read(client: Client) -> list[Value]:
    async with client:
        return await collect(aiter(client.subscribe("t", since="oldest")), 499)


async def test_publishing_through_cuts_happens_once_and_in_order() -> None:
    chance = random.Random(7)
    async with (
        service() as server,
        rationed(server.port, lambda: chance.randint(200, 900)) as proxy,
        Client(proxy.url, backoff=quick()) as unlucky,
        Client(server.url) as client,
        client.subscribe("t") as topic,
    ):
        for number in range(60):
            assert (await unlucky.publish("t", number)).offset == number + 1
        assert data(await collect(aiter(topic), 59)) == list(range(60))
        assert proxy.accepted > 10


@pytest.mark.parametrize("posted", [False, True])
async def test_a_batch_through_cuts(posted: bool) -> None:
    chance = random.Random(8)
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        rationed(server.port, lambda: chance.randint(20_000, 60_000)) as proxy,
        Client(proxy.url, backoff=quick()) as client,
    ):
        urls = [f"{upstream.url}/bytes/10?{number}" for number in range(1500 if posted else 500)]
        batch = client.fetch(urls, cache="no-store")
        events = [event async for event in batch]
        assert proxy.accepted > 3
    *results, done = events
    assert isinstance(done, Done)
    assert done.ok == batch.total == len(urls)
    assert sorted(event.index for event in results if isinstance(event, Result)) == list(range(len(urls)))


async def test_a_watch_through_a_cut() -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        rationed(server.port, lambda: 1 << 40) as proxy,
        Client(proxy.url, backoff=quick()) as client,
    ):
        seen = []
        async with asyncio.timeout(60):
            async for event in client.watch(f"{upstream.url}/etag/k?period=0.5", every=1):
                seen.append(event)
                proxy.cut()
                if len(seen) == 4:
                    break
    states = [event for event in seen if isinstance(event, WatchState)]
    assert [event.event for event in states] == ["state", "changed", "changed", "changed"]
    assert len({event.sha256 for event in states}) == 4


async def test_a_kill_is_reported_as_a_restart_and_what_comes_after_it_is_whole() -> None:
    async with (
        service() as server,
        Client(server.url, backoff=quick()) as client,
        client.subscribe("t") as topic,
    ):
        values = aiter(topic)
        await publish(server.url, [1, 2, 3])
        assert data(await collect(values, 3)) == [1, 2, 3]
        server.process.kill()
        await server.ended()
        async with again(server) as anew:
            await publish(anew.url, [4, 5])
            restart, *rest = await collect(values, 5)
            assert isinstance(restart, Restart)
            assert restart.offset == 0
            assert data(rest) == [4, 5]


async def test_a_drain_gives_everything_that_was_accepted_and_the_next_service_goes_on() -> None:
    async with (
        service("--drain", "2") as server,
        Client(server.url, backoff=quick()) as client,
        client.subscribe("t") as topic,
    ):
        collecting = asyncio.create_task(collect(aiter(topic), "after"))
        for number in range(20):
            await client.publish("t", number)
        server.process.send_signal(signal.SIGTERM)
        # Some of these find the service going, and are taken by the next one.
        publishing = asyncio.create_task(publish_all(client, range(20, 40)))
        assert await server.ended() == 0
        async with again(server):
            accepted = await publishing
            await client.publish("t", "after")
            reported = await collecting
    assert data(reported[:20]) == list(range(20))
    assert sum(isinstance(value, Restart) for value in reported) == 1
    positions = [value.position for value in reported if isinstance(value, Message)]
    assert [position for position in positions if position in accepted] == accepted


async def publish_all(client: Client, numbers: Any) -> list[Position]:
    return [await client.publish("t", number) for number in numbers]


async def test_a_batch_in_a_drain_ends_and_one_after_a_kill_is_reported() -> None:
    async with origin() as upstream:
        options = ("--drain", "3", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
        async with service(*options) as server, Client(server.url, backoff=quick()) as client:
            events = aiter(client.fetch([f"{upstream.url}/slow/{ms}" for ms in (1, 500)]))
            assert (await anext(events)).index == 0
            server.process.send_signal(signal.SIGTERM)
            assert [type(event) async for event in events] == [Result, Done]
            assert await server.ended() == 0
            async with again(server, *options) as anew:
                events = aiter(client.fetch([f"{upstream.url}/slow/{ms}" for ms in (1, 60_000)]))
                assert (await anext(events)).index == 0
                anew.process.kill()
                await anew.ended()
                async with again(server, *options):
                    with pytest.raises(Refused, match="not_found"):
                        await anext(events)


async def test_a_consumer_that_is_too_slow_meets_its_policy_and_is_notified() -> None:
    async with (
        service("--ring-messages", "100", "--client-rate", "1000000") as server,
        Client(server.url, backoff=quick()) as client,
        Client(server.url) as publisher,
        client.subscribe("t", on_lag="drop_oldest") as topic,
    ):
        for number in range(3000):
            await publisher.publish("t", [number, "x" * 2000])
        values = aiter(topic)
        taken: list[Value] = []
        while not isinstance(taken[-1] if taken else None, Message) or taken[-1].offset < 3000:
            taken.append(await asyncio.wait_for(anext(values), 60))
    assert any(isinstance(value, Gap) for value in taken)
    at = 0
    for value in taken:
        assert not isinstance(value, Restart)
        assert (value.first if isinstance(value, Gap) else value.offset) == at + 1
        at = value.last if isinstance(value, Gap) else value.offset
    assert at == 3000


async def test_tokens() -> None:
    async with service(env={"SLUICE_TOKEN": "right"}) as server:
        async with Client(server.url, token="right") as client:
            assert await client.presence("t") == 0
            assert await client.authenticate("right") is None
            with pytest.raises(Refused, match="unauthorized"):
                await client.authenticate("wrong")
        async with Client(server.url, token="wrong") as client:
            with pytest.raises(Disconnected) as raised:
                await client.presence("t")
            assert raised.value.code == 4401


async def test_a_server_that_is_not_the_service_is_not_tried_again() -> None:
    async with origin() as upstream, Client(upstream.url) as client:
        with pytest.raises(Disconnected) as raised:
            await client.presence("t")
        assert raised.value.code == 404
