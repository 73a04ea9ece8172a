"""Any history of publishes, cuts, restarts, refusals and pauses: what a consumer gets has no hole and no repetition."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from service.client import Backoff, Gap, Message, Restart, Value
from service.client.transport import Unreachable
from service.core.sessions.closing import DRAINED
from service.core.topics.topic import RingLimits
from tests.client.fake import FakeService, client_of
from tests.virtual import VirtualClockLoop

steps = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 30)),
    st.tuples(st.just("cut"), st.integers(0, 25)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("drain"), st.just(0)),
    st.tuples(st.just("refuse"), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.integers(0, 20)),
    st.tuples(st.just("call"), st.just(0)),
)


def on_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(test())  # type: ignore[arg-type]


def check(values: list[Value], last: Message) -> None:
    """Each epoch from its beginning or a reported place, each offset once and in order or in a gap, up to the last."""
    epoch, offset = "e1", 0
    for value in values:
        if isinstance(value, Restart):
            assert value.epoch != epoch, "a restart that was none"
            epoch, offset = value.epoch, value.offset
        elif isinstance(value, Gap):
            assert value.first == offset + 1
            assert value.last >= value.first
            offset = value.last
        else:
            assert (value.epoch, value.offset, value.data) == (epoch, offset + 1, value.offset)
            offset = value.offset
    assert (epoch, offset) == (last.epoch, last.offset)


async def act(service: FakeService, what: str, count: int) -> None:
    match what:
        case "publish":
            service.publish("t", count)
        case "cut" if service.sockets:
            service.socket.left = count
        case "restart":
            service.restart()
        case "drain" if service.sockets:
            service.drain()
        case "refuse":
            service.turned_away += [Unreachable("not now")] * count
            if service.sockets:
                service.socket.cut()
        case "wait":
            await asyncio.sleep(count / 10)


@settings(max_examples=100, deadline=None)
@given(history=st.lists(steps, max_size=40), ring=st.integers(3, 400), room=st.sampled_from([0, 1, 5]),
       pace=st.sampled_from([0.0, 0.01, 3.0]), on_lag=st.sampled_from(["disconnect", "drop_oldest", "latest"]))  # fmt: skip
def test_nothing_is_missing_and_nothing_comes_twice(
    history: list[tuple[str, int]], ring: int, room: int, pace: float, on_lag: str
) -> None:
    async def run() -> None:
        service = FakeService(RingLimits(messages=ring), room=room)
        service.hub.own("t")
        values: list[Value] = []
        calls = []
        async with client_of(service, backoff=Backoff(0.1, 1.0)) as client:

            async def consume() -> None:
                async for value in client.subscribe("t", since="oldest", on_lag=on_lag):  # type: ignore[arg-type]
                    values.append(value)
                    if isinstance(value, Message) and value.data == "last":
                        return
                    await asyncio.sleep(pace / 100)

            consumer = asyncio.create_task(consume())
            await client.presence("t")
            for what, count in history:
                if what == "call":
                    calls.append(asyncio.create_task(client.presence("t")))
                await act(service, what, count)
            if service.draining:
                service.draining = False
                service.end(DRAINED)
            await asyncio.wait_for(asyncio.gather(*calls), 3600)
            await asyncio.sleep(100)
            service.hub.publish("t", b'"last"', asyncio.get_running_loop().time())
            await asyncio.wait_for(consumer, 3600)
            last = values.pop()
        assert isinstance(last, Message)
        check(values, Message("t", last.epoch, last.offset - 1, None))

    on_virtual_time(run)
