"""The states of a pipeline's block: the table in the module's text is what the code does, pair by pair."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from service.work.pipelines import pipeline as module
from service.work.pipelines.pipeline import Item, Pipeline, PipelineState, Stage
from tests.state_tables import transitions

EVENTS = ("enter", "put", "leave", "done", "fail")
TABLE = {
    (PipelineState[state], event): following for (state, event), following in transitions(module, EVENTS).items()
}


def test_the_printed_table_is_the_one_that_holds() -> None:
    printed = {pair: PipelineState[following] for pair, following in TABLE.items() if following != "refused"}
    assert printed == module._FOLLOWING
    assert {state for state, _ in TABLE} == set(PipelineState)


class Broken(Exception):
    pass


class Walk:
    """One pipeline of a stage whose value waits until it may come out."""

    def __init__(self) -> None:
        self.may_come_out = asyncio.Event()
        self.out: list[int] = []
        self.pipeline = Pipeline([Stage(self.stage)], self.deliver)
        self.leaving: asyncio.Task[None] | None = None

    async def stage(self, value: int) -> int:
        await self.may_come_out.wait()
        return value

    async def deliver(self, item: Item[int]) -> None:
        self.out.append(item.value)

    async def enter(self) -> None:
        await self.pipeline.__aenter__()

    async def put(self) -> None:
        await self.pipeline.put(1)

    async def leave(self) -> None:
        self.leaving = asyncio.create_task(self.pipeline.__aexit__(None, None, None))
        await asyncio.sleep(0)
        if self.leaving.done():
            self.leaving.result()

    async def done(self) -> None:
        self.may_come_out.set()
        assert self.leaving is not None
        await self.leaving

    async def fail(self) -> None:
        if self.pipeline.state is PipelineState.OPEN:
            with pytest.raises(ExceptionGroup):
                await self.pipeline.__aexit__(Broken, Broken(), None)
        else:
            assert self.leaving is not None
            self.leaving.cancel()
            with suppress(asyncio.CancelledError):
                await self.leaving

    async def happen(self, event: str) -> None:
        calls: dict[str, Callable[[], Awaitable[None]]] = {
            "enter": self.enter, "put": self.put, "leave": self.leave, "done": self.done, "fail": self.fail,
        }  # fmt: skip
        await calls[event]()

    async def reach(self, state: PipelineState) -> None:
        events = ("enter", "put", "leave", "done")
        for event in events[: {"NEW": 0, "OPEN": 2, "DRAINING": 3, "ENDED": 4}[state.name]]:
            await self.happen(event)
        assert self.pipeline.state is state

    async def end(self) -> None:
        self.may_come_out.set()
        if self.pipeline.state is PipelineState.OPEN:
            await self.leave()
        if self.leaving is not None:
            with suppress(asyncio.CancelledError, RuntimeError):
                await self.leaving


CAN_HAPPEN = [pair for pair, following in TABLE.items() if pair[1] in ("enter", "put") or following != "refused"]
"""The others are ends of the block, which come once and only after its beginning."""


@pytest.mark.parametrize(("state", "event"), CAN_HAPPEN)
async def test_each_pair_of_the_table_is_what_happens(state: PipelineState, event: str) -> None:
    walk = Walk()
    await walk.reach(state)
    if TABLE[state, event] == "refused":
        with pytest.raises(RuntimeError, match=f"is {state.name.lower()}: {event} is refused"):
            await walk.happen(event)
        assert walk.pipeline.state is state
    else:
        await walk.happen(event)
        assert walk.pipeline.state.name == TABLE[state, event]
    await walk.end()


async def test_a_value_that_is_put_into_one_that_drains_is_refused_and_the_others_come_out() -> None:
    walk = Walk()
    await walk.reach(PipelineState.DRAINING)
    with pytest.raises(RuntimeError):
        await walk.put()
    await walk.done()
    assert walk.out == [1]


async def test_one_whose_delivery_raises_has_ended() -> None:
    async def deliver(item: Item[int]) -> None:
        raise Broken

    async def stage(value: int) -> int:
        return value

    pipeline = Pipeline([Stage(stage)], deliver)

    async def block() -> None:
        async with pipeline:
            await pipeline.put(1)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await block()
    assert raised.group_contains(Broken)
    assert pipeline.state is PipelineState.ENDED
    with pytest.raises(RuntimeError, match="is ended"):
        await pipeline.put(2)
