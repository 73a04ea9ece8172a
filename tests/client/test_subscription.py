"""Loops over a subscription: given up for a moment, left, followed by others, ended from outside."""

import asyncio
import datetime
import gc
from typing import Any

import pytest

from service.client import ClientClosed, Gap, Message, Position, Refused
from service.core.topics.topic import RingLimits
from tests.client.fake import FakeService, client_of


async def take(values: Any, count: int) -> list[int]:
    return [(await asyncio.wait_for(anext(values), 3600)).offset for _ in range(count)]


async def test_a_step_that_is_given_up_loses_nothing() -> None:
    service = FakeService()
    async with client_of(service) as client:
        values = aiter(client.subscribe("t"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await anext(values)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(values), 5)
        service.publish("t", 3)
        assert await take(values, 3) == [1, 2, 3]
        assert await client.presence("t") == 1
        del values
        assert await client.presence("t") == 0


async def test_a_step_that_is_cancelled_as_a_message_comes_loses_nothing() -> None:
    service = FakeService()
    async with client_of(service) as client, client.subscribe("t") as topic:
        values = aiter(topic)
        had = []
        for turns in range(12):
            task = asyncio.ensure_future(anext(values))
            await asyncio.sleep(0)
            service.publish("t", 1)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            had += [result.offset] if isinstance(result, Message) else []
        assert 0 < len(had) < 12
        assert had + await take(values, 12 - len(had)) == list(range(1, 13))


async def test_a_block_may_have_one_loop_after_another_and_one_at_a_time() -> None:
    service = FakeService()
    async with client_of(service) as client, client.subscribe("t") as topic:
        service.publish("t", 4)
        async for value in topic:
            assert value.offset == 1
            with pytest.raises(RuntimeError, match="has a loop"):
                aiter(topic)
            break
        assert await take(aiter(topic), 3) == [2, 3, 4]
        assert await client.presence("t") == 1


async def test_a_block_that_is_left_ends_its_loops() -> None:
    service = FakeService()
    async with client_of(service) as client:
        async with client.subscribe("t") as topic:
            looping = asyncio.create_task(read(topic))
            await asyncio.sleep(1)
        assert await asyncio.wait_for(looping, 1) == []


async def test_a_client_that_is_closed_ends_its_loops_and_calls() -> None:
    service = FakeService()
    async with client_of(service) as client, client.subscribe("t") as topic:
        looping = asyncio.create_task(read(topic))
        await asyncio.sleep(1)
        service.socket.mute = True
        service.turned_away = [ConnectionError()] * 0
        await client.close()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(looping, 1)


async def read(values: Any) -> list[Any]:
    return [value async for value in values]


async def test_a_loop_that_is_left_and_one_that_begins_at_once() -> None:
    service = FakeService()
    async with client_of(service) as client:
        service.publish("t", 2)
        for _ in range(3):
            async for value in client.subscribe("t", since="oldest"):
                assert value.offset == 1
                break
        assert await client.presence("t") == 0


async def test_an_iterator_in_a_cycle_is_left_when_it_is_collected() -> None:
    service = FakeService()
    async with client_of(service) as client:
        values = aiter(client.subscribe("t"))
        asyncio.ensure_future(anext(values)).cancel()
        await asyncio.sleep(1)
        cycle: list[Any] = [values]
        cycle.append(cycle)
        del cycle, values
        gc.collect()
        assert await client.presence("t") == 0


async def test_the_position_after_a_gap_is_before_what_follows_it() -> None:
    service = FakeService(RingLimits(messages=2))
    async with client_of(service) as client, client.subscribe("t", since="oldest", on_lag="drop_oldest") as topic:
        service.socket.cut()
        service.publish("t", 5)
        values = aiter(topic)
        assert await asyncio.wait_for(anext(values), 60) == Gap(1, 3)
        assert topic.position == Position("e1", 3)


@pytest.mark.parametrize("data", [datetime.datetime.now(datetime.UTC), {1: 2}, 2**64, b"x", {"a": float("-inf")}])
async def test_what_json_cannot_say_is_refused_at_once(data: Any) -> None:
    async with client_of(FakeService()) as client:
        with pytest.raises(Refused, match="JSON"):
            await client.publish("t", data)
        assert await client.publish("t", {"null": None}) == Position("e1", 1)


def test_positions_as_text() -> None:
    assert Position.parse("a:b:7") == Position("a:b", 7)
    for text in ("", "a", "a:", ":1", "a:-1", "a:1.5", "a:1 "):
        with pytest.raises(ValueError, match="EPOCH:OFFSET"):
            Position.parse(text)
