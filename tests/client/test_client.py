"""The client over a network that is cut: what it asks, what it yields, what it raises, and what it leaves behind."""

import asyncio
import gc
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from service.client import (
    Backoff,
    Client,
    ClientClosed,
    Disconnected,
    Gap,
    Message,
    Position,
    Refused,
    Restart,
    State,
    Unanswered,
    Value,
)  # fmt: skip
from service.client.stream import MESSAGES
from service.client.transport import Unreachable
from service.core.sessions.closing import CLOSINGS, FLOODING, OVERLOADED, TOO_SLOW, Reconnect
from service.core.topics.topic import RingLimits
from tests.client.fake import FakeService, client_of

HOPELESS = (Reconnect.FIXED, Reconnect.RENEWED)


async def take(iterator: Any, count: int) -> list[Any]:
    return [await asyncio.wait_for(anext(iterator), 3600) for _ in range(count)]


def offsets(values: list[Value]) -> list[Any]:
    return [value.offset if isinstance(value, Message) else value for value in values]


async def test_a_topic_from_here_on() -> None:
    service = FakeService()
    async with client_of(service) as client, client.subscribe("t") as topic:
        service.publish("t", 3)
        async with aclosing(aiter(topic)) as values:  # type: ignore[type-var]
            assert await take(values, 2) == [Message("t", "e1", 1, 1), Message("t", "e1", 2, 2)]
        assert topic.position == Position("e1", 2)
        assert topic.topic == "t"


async def test_leaving_an_iteration_early_unsubscribes() -> None:
    service = FakeService()
    async with client_of(service) as client:
        service.publish("t", 3)
        async for _ in client.subscribe("t", since="oldest"):
            break
        await asyncio.sleep(1)
        assert service.hub.topics["t"].readers == {}
        assert await client.presence("t") == 0
        assert "0 streams" in repr(client)


async def test_what_was_left_is_not_begun_again() -> None:
    async with client_of(FakeService()) as client:
        async with client.subscribe("t") as topic:
            pass
        with pytest.raises(RuntimeError, match="left"):
            await anext(aiter(topic))


async def test_cancelling_an_iteration_unsubscribes() -> None:
    service = FakeService()
    async with client_of(service) as client:

        async def forever() -> None:
            async for _ in client.subscribe("t"):
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 5)
        assert await client.presence("t") == 0


async def test_leaving_before_the_answer_has_come_unsubscribes_too() -> None:
    service = FakeService()
    async with client_of(service) as client:
        await client.presence("t")
        stream = aiter(client.subscribe("t"))
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del stream
        await asyncio.sleep(1)
        assert service.hub.topics.get("t") is None or service.hub.topics["t"].readers == {}


@pytest.mark.parametrize("closing", [None, *(c for c in CLOSINGS if c.reconnect not in HOPELESS)])
async def test_a_stream_goes_on_after_a_cut_as_if_there_had_been_none(closing: Any) -> None:
    service = FakeService()
    async with client_of(service) as client:
        service.publish("t", 2)
        values = aiter(client.subscribe("t", since="oldest"))
        assert offsets(await take(values, 2)) == [1, 2]
        service.end(closing) if closing else service.socket.cut()
        service.publish("t", 2)
        assert offsets(await take(values, 2)) == [3, 4]
        assert len(service.sockets) == 2


@pytest.mark.parametrize("closing", [c for c in CLOSINGS if c.reconnect in HOPELESS])
async def test_where_coming_back_does_not_help_everyone_is_notified(closing: Any) -> None:
    service = FakeService()
    async with client_of(service) as client:
        async with client.subscribe("t") as topic:
            service.publish("t")
            await asyncio.sleep(1)
            service.end(closing)
            await asyncio.sleep(1)
            values = aiter(topic)
            assert offsets(await take(values, 1)) == [1], "what had come is not lost"
            with pytest.raises(Disconnected, match=str(closing.code)) as raised:
                await anext(values)
            assert (raised.value.code, raised.value.reason) == (closing.code, closing.reason)
        with pytest.raises(Disconnected):
            await client.publish("t", 1)
        with pytest.raises(Disconnected):
            await anext(aiter(client.subscribe("u")))
    assert len(service.sockets) == 1


async def test_the_schedule_of_coming_back() -> None:
    service, loop = FakeService(), asyncio.get_running_loop()
    async with client_of(service, backoff=Backoff(1.0, 8.0, chance=lambda: 1.0)) as client:
        await client.presence("t")
        times = []
        for closing in (OVERLOADED, FLOODING, TOO_SLOW, OVERLOADED, OVERLOADED):
            begun = loop.time()
            service.end(closing)
            await asyncio.sleep(0.01)
            await client.presence("t")
            times.append(round(loop.time() - begun))
        assert times == [1, 2, 4, 8, 8]


async def test_it_waits_as_long_as_a_service_that_goes_away_asked_for() -> None:
    service, loop = FakeService(), asyncio.get_running_loop()
    async with client_of(service, backoff=Backoff(1.0, chance=lambda: 0.0)) as client:
        await client.presence("t")
        service.drain()
        await asyncio.sleep(1)
        begun = loop.time()
        service.restart()
        await asyncio.sleep(0.01)
        await client.presence("t")
        assert loop.time() - begun == pytest.approx(3.0, abs=0.1)


async def test_it_waits_while_nobody_is_there_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    service, loop = FakeService(), asyncio.get_running_loop()
    service.turned_away = [Unreachable("503 Draining", 5.0), Unreachable("refused")]
    async with client_of(service, backoff=Backoff(1.0, chance=lambda: 0.0)) as client:
        assert await client.presence("t") == 0
        assert loop.time() == pytest.approx(5.5 + 1.0, abs=0.1)
    assert "503 Draining; again in 5.5 s" in caplog.text


async def test_another_epoch_is_reported_and_read_from_its_oldest() -> None:
    service = FakeService()
    async with client_of(service) as client:
        service.publish("t", 3)
        values = aiter(client.subscribe("t", since="oldest"))
        await take(values, 3)
        service.restart()
        service.publish("t", 2)
        assert offsets(await take(values, 3)) == [Restart("e2", 0), 1, 2]


async def test_what_is_gone_after_a_cut_is_a_gap() -> None:
    service = FakeService(RingLimits(messages=4))
    async with client_of(service) as client:
        service.publish("t", 2)
        values = aiter(client.subscribe("t", since="oldest"))
        await take(values, 2)
        service.socket.cut()
        service.publish("t", 9)
        assert offsets(await take(values, 5)) == [Gap(3, 7), 8, 9, 10, 11]


async def test_a_position_of_an_earlier_run_of_the_program() -> None:
    service = FakeService()
    service.publish("t", 3)
    async with client_of(service) as one, client_of(service) as two:
        assert offsets(await take(aiter(one.subscribe("t", since=Position("e1", 1))), 2)) == [2, 3]
        other = aiter(two.subscribe("t", since=Position("gone", 7)))
        assert offsets(await take(other, 2)) == [Restart("e1", 0), 1]


async def test_a_publish_whose_answer_is_lost_happens_once() -> None:
    service = FakeService()
    service.cuts = [0, 0]
    async with client_of(service) as client:
        assert await client.publish("t", {"a": 1}) == Position("e1", 1)
    assert len(service.sockets) == 3
    assert len({socket.asked[0] for socket in service.sockets}) == 1, "the same key each time"
    assert service.hub.topics["t"].head == 1


async def test_a_publish_without_a_key_is_not_repeated() -> None:
    service = FakeService()
    service.cuts = [0]
    async with client_of(service) as client:
        with pytest.raises(Unanswered):
            await client.publish("t", 1, once=False)
        assert await client.publish("t", 2, once=False) == Position("e1", 2)


async def test_a_publish_is_not_repeated_once_its_key_may_be_forgotten() -> None:
    service = FakeService()
    service.cuts = [0]
    service.turned_away = []
    async with client_of(service) as client:
        task = asyncio.create_task(client.publish("t", 1))
        await asyncio.sleep(0.01)
        service.turned_away = [Unreachable("gone", 130.0)]
        with pytest.raises(Unanswered):
            await task


async def test_what_does_not_fit_a_message_is_refused_before_it_ends_the_connection() -> None:
    service = FakeService()
    async with client_of(service) as client:
        with pytest.raises(Refused) as refused:
            await client.publish("t", "x" * 70_000)
        assert refused.value.reason == "too_large"
        assert await client.publish("t", "x" * 60_000) == Position("e1", 1)


async def test_refusals_have_the_contracts_reason() -> None:
    async with client_of(FakeService()) as client:
        for call in (client.publish("_stats", 1), client.publish("no space", 1), client.cancel("b")):
            with pytest.raises(Refused) as refused:
                await call
            assert refused.value.reason in ("forbidden", "invalid_params", "not_found")
            assert not refused.value.temporary


async def test_a_call_while_the_service_drains_goes_to_the_next_one() -> None:
    service = FakeService()
    async with client_of(service) as client:
        await client.presence("t")
        service.drain()
        task = asyncio.create_task(take(aiter(client.subscribe("t", since="oldest")), 1))
        await asyncio.sleep(2)
        service.restart()
        service.publish("t")
        assert offsets(await task) == [1]


async def test_a_batch_goes_on_where_it_was_and_ends() -> None:
    service = FakeService()
    async with client_of(service) as client:
        batch = client.fetch(["http://a.example/", "http://b.example/"], timeout=3)
        events = aiter(batch)
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(1)
        assert orjson.loads(service.socket.asked[0])["params"]["options"] == {"timeout": 3}
        service.hub.append(service.batch, b'{"event":"result","index":0}', 0.0)
        assert (await task).raw["index"] == 0
        assert (batch.id, batch.total) == ("b0", 2)
        service.socket.cut()
        service.hub.append(service.batch, b'{"event":"failed","index":1}', 0.0)
        service.hub.append(service.batch, b'{"event":"done"}', 0.0)
        service.hub.finish(service.batch)
        assert [event.event async for event in events] == ["failed", "done"]


async def test_leaving_a_batch_early_cancels_it() -> None:
    service = FakeService()
    async with client_of(service) as client:
        async with client.fetch(["http://a.example/"]):
            pass
        await asyncio.sleep(1)
        assert service.cancelled == ["b0"]


async def test_a_batch_that_is_left_at_the_last_moment_is_cancelled_too() -> None:
    service = FakeService()
    async with client_of(service) as client, client.fetch(["http://a.example/"] * 2) as batch:
        service.hub.append(service.batch, b'{"event":"result","index":0}', 0.0)
        async for _ in batch:
            break
    assert service.cancelled == ["b0"]


async def test_a_batch_that_is_done_is_not_cancelled() -> None:
    service = FakeService()
    async with client_of(service) as client:
        async with client.fetch(["http://a.example/"]) as batch:
            service.hub.append(service.batch, b'{"event":"done"}', 0.0)
            assert [event.event async for event in batch] == ["done"]
        await asyncio.sleep(1)
    assert service.cancelled == []


async def test_a_batch_is_kept_alive_while_its_consumer_takes_its_time() -> None:
    service = FakeService()
    async with client_of(service) as client, client.fetch(["http://a.example/"] * MESSAGES) as batch:
        for index in range(MESSAGES):
            service.hub.append(service.batch, b'{"event":"result","index":%d}' % index, 0.0)
        service.hub.append(service.batch, b'{"event":"done"}', 0.0)
        await asyncio.sleep(6)
        assert service.batch.readers == {}
        left: list[float] = []
        service.batch.on_idle = lambda: left.append(asyncio.get_running_loop().time())
        await asyncio.sleep(200)
        assert len(left) == 10, "the service saw a reader every 20 s"
        assert len([event async for event in batch]) == MESSAGES + 1


async def test_a_batch_whose_service_began_anew_is_reported() -> None:
    service = FakeService()
    async with client_of(service) as client:
        events = aiter(client.fetch(["http://a.example/"]))
        task = asyncio.ensure_future(anext(events))
        await asyncio.sleep(1)
        service.restart()
        with pytest.raises(Refused, match="not_found"):
            await task


async def test_a_large_batch_is_posted() -> None:
    service = FakeService()
    async with client_of(service) as client:
        batch = client.fetch([f"http://a.example/{number}" for number in range(10_000)])
        task = asyncio.ensure_future(anext(aiter(batch)))
        await asyncio.sleep(1)
        service.hub.append(service.hub.topics["batch:posted"], b'{"event":"done"}', 0.0)
        assert (await task).event == "done"
        assert batch.id == "posted"


async def test_a_consumer_that_takes_nothing_stops_the_reading() -> None:
    service = FakeService(RingLimits(messages=50), room=10)
    async with client_of(service) as client, client.subscribe("t", on_lag="drop_oldest") as topic:
        for _ in range(100):
            service.publish("t", 10)
            await asyncio.sleep(0.01)
        assert len(topic._stream._held) == MESSAGES
        assert service.socket.inbox.full(), "the rest waits in the network and in the service"
        assert len(service.socket.asked) == 1
        values = aiter(topic)
        got = offsets(await take(values, MESSAGES))
        assert got == list(range(1, MESSAGES + 1))
        rest = []
        while not rest or rest[-1] != 1000:
            rest += offsets(await take(values, 1))
        assert any(isinstance(value, Gap) for value in rest), "the service's policy is what dropped messages"
        assert covered(got + rest) == 1000


def covered(values: list[Any]) -> int:
    """Return the last offset; every one before it came once and in order, or is in a gap."""
    at = 0
    for value in values:
        first, last = (value.first, value.last) if isinstance(value, Gap) else (value, value)
        assert first == at + 1
        at = last
    return at


async def test_a_consumer_that_calls_while_it_is_behind_is_answered_and_loses_nothing() -> None:
    service = FakeService(RingLimits(messages=10_000))
    async with client_of(service) as client, client.subscribe("t") as topic:
        service.publish("t", 3 * MESSAGES)
        await asyncio.sleep(1)
        seen = []
        async with aclosing(aiter(topic)) as values:  # type: ignore[type-var]
            async for value in values:
                seen.append(value)
                if len(seen) % 50 == 1:
                    assert await asyncio.wait_for(client.presence("u"), 5) == 0
                if len(seen) == 3 * MESSAGES:
                    break
        assert covered(offsets(seen)) == 3 * MESSAGES
        assert len(service.sockets) == 1


async def test_a_stuck_consumer_holds_up_the_others_for_a_moment_only() -> None:
    service = FakeService(RingLimits(messages=10_000))
    async with client_of(service) as client, client.subscribe("slow") as slow, client.subscribe("fast") as fast:
        service.publish("slow", 2 * MESSAGES)
        await asyncio.sleep(1)
        service.publish("fast", 3)
        fast_values = aiter(fast)
        async with asyncio.timeout(6):
            assert offsets(await take(fast_values, 3)) == [1, 2, 3]
        await asyncio.sleep(1000)
        assert await client.presence("slow") == 0, "nothing is sent to it meanwhile"
        slow_values = aiter(slow)
        assert covered(offsets(await take(slow_values, 2 * MESSAGES))) == 2 * MESSAGES
        assert len(service.sockets) == 1


async def test_one_slow_stream_among_others_is_resumed_and_stops_nobody_after_a_cut() -> None:
    service = FakeService(RingLimits(messages=10_000))
    async with client_of(service) as client, client.subscribe("slow") as slow, client.subscribe("fast") as fast:
        service.publish("slow", 2 * MESSAGES)
        await asyncio.sleep(1)
        service.socket.cut()
        service.publish("fast", 3)
        assert offsets(await take(aiter(fast), 3)) == [1, 2, 3]
        assert covered(offsets(await take(aiter(slow), 2 * MESSAGES))) == 2 * MESSAGES


@pytest.mark.parametrize("last", [0.0, 1.0, 29.0, 30.5, 44.0, 59.0])
async def test_a_peer_that_vanished_is_noticed_within_45_s_of_its_last_word(
    last: float, caplog: pytest.LogCaptureFixture
) -> None:
    service, ended = FakeService(), asyncio.Queue[State]()
    loop = asyncio.get_running_loop()

    def note(state: State) -> None:
        if state.after:
            ended.put_nowait(state)

    async with client_of(service, on_state=note) as client:
        await asyncio.sleep(last)
        await client.presence("t")
        service.socket.mute = True
        begun = loop.time()
        state = await ended.get()
        assert 40 <= loop.time() - begun <= 45.1
        assert state.reason == "silence"
        assert [record.getMessage() for record in caplog.records] == [
            "nothing received for 40 s: giving up the connection"
        ]


async def test_a_peer_that_answers_is_left_alone() -> None:
    service = FakeService()
    async with client_of(service) as client:
        await client.presence("t")
        await asyncio.sleep(500)
        assert len(service.sockets) == 1


async def test_closing_tells_everyone_and_leaves_no_task() -> None:
    service = FakeService()
    before = asyncio.all_tasks()
    client = client_of(service)
    with pytest.raises(ClientClosed):
        await client.presence("t")
    async with client:
        values = aiter(client.subscribe("t"))
        task = asyncio.ensure_future(anext(values))
        await asyncio.sleep(1)
    with pytest.raises(ClientClosed):
        await task
    with pytest.raises(ClientClosed):
        await client.presence("t")
    await client.close()
    gc.collect()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("url", ["ftp://h", "h:80", "", "http://"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url)


@pytest.mark.parametrize(
    "given", [{"url": 5}, {"url": None}, {"url": "http://h", "token": 5}, {"url": "http://h", "token": b"T"}]
)
def test_an_address_or_a_token_of_another_type_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="a text"):
        Client(**given)
