"""The laws of a bounded pipeline, for stages of any number, size and speed: on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.work.pipelines.pipeline import Full, Item, Pipeline, Stage
from tests.virtual import VirtualClockLoop


def on_virtual_time(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(0)) as runner:
        return runner.run(work)


class Refused(Exception):
    pass


@dataclass
class Shape:
    """Stages by workers, queue and seconds for each value; and the values that one of them cannot process."""

    stages: list[tuple[int, int, list[float]]]
    count: int
    bad: set[int]
    full: Full
    pause: float
    slow_reader: float


seconds = st.sampled_from([0.0, 0.1, 0.5, 2.0])
shapes = st.builds(
    Shape,
    stages=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.lists(seconds, min_size=1, max_size=5)),
        min_size=1, max_size=4,
    ),
    count=st.integers(0, 40),
    bad=st.sets(st.integers(0, 40), max_size=5),
    full=st.sampled_from(["block", "drop_oldest"]),
    pause=seconds,
    slow_reader=seconds,
)  # fmt: skip


@dataclass
class Seen:
    """What was observed of one run."""

    out: list[Item[int]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    inside: int = 0
    most_inside: int = 0
    in_stage: dict[int, int] = field(default_factory=dict)
    most_in_stage: dict[int, int] = field(default_factory=dict)
    most_waiting: list[int] = field(default_factory=list)


def stage_of(shape: Shape, place: int, seen: Seen) -> Stage[int]:
    workers, queue, delays = shape.stages[place]

    async def run(value: int) -> int:
        running = seen.in_stage[place] = seen.in_stage.get(place, 0) + 1
        seen.most_in_stage[place] = max(running, seen.most_in_stage.get(place, 0))
        try:
            await asyncio.sleep(delays[value % len(delays)])
            if value in shape.bad and place == value % len(shape.stages):
                raise Refused(f"{value}")
            return value
        finally:
            seen.in_stage[place] -= 1

    return Stage(run, workers, queue)


async def observe(shape: Shape) -> tuple[Seen, Pipeline[int]]:
    seen = Seen(most_waiting=[0] * len(shape.stages))

    async def deliver(item: Item[int]) -> None:
        await asyncio.sleep(shape.slow_reader)
        seen.out.append(item)
        seen.inside -= 1

    def on_dropped(value: int) -> None:
        seen.dropped.append(value)
        seen.inside -= 1

    stages = [stage_of(shape, place, seen) for place in range(len(shape.stages))]
    async with Pipeline(stages, deliver, full=shape.full, on_dropped=on_dropped) as pipeline:
        for value in range(shape.count):
            await pipeline.put(value)
            seen.inside += 1
            seen.most_inside = max(seen.inside, seen.most_inside)
            seen.most_waiting = [max(pair) for pair in zip(seen.most_waiting, pipeline.waiting, strict=True)]
            await asyncio.sleep(shape.pause)
    return seen, pipeline


@given(shapes)
def test_all_that_goes_in_comes_out_in_order_or_failed_or_was_dropped(shape: Shape) -> None:
    seen, pipeline = on_virtual_time(observe(shape))
    failed = [item for item in seen.out if item.error is not None]
    assert len(seen.out) + pipeline.dropped == shape.count
    assert [item.number for item in seen.out] == sorted({item.number for item in seen.out})
    assert sorted([item.value for item in seen.out] + seen.dropped) == list(range(shape.count))
    assert {item.value for item in failed} == shape.bad & {item.value for item in seen.out}
    # Counted with the item that followed, the drops say which item each output belongs to.
    number = 0
    for item in seen.out:
        number += item.dropped + 1
        assert item.number == number
        assert item.value == number - 1
    assert number == shape.count
    if shape.full == "block":
        assert pipeline.dropped == 0


@given(shapes)
def test_no_stage_has_more_than_its_bounds(shape: Shape) -> None:
    seen, pipeline = on_virtual_time(observe(shape))
    assert seen.most_inside <= pipeline.capacity
    for place, (workers, queue, _) in enumerate(shape.stages):
        assert seen.most_in_stage.get(place, 0) <= workers
        assert seen.most_waiting[place] <= queue
    assert seen.inside == 0


async def echo(value: int) -> int:
    return value


async def hang(value: int) -> int:
    await asyncio.Event().wait()
    return value


async def ignore(item: Item[int]) -> None:
    pass


async def test_a_full_stage_holds_back_who_puts_in() -> None:
    put = 0

    async def fill() -> None:
        nonlocal put
        async with asyncio.timeout(0.05), Pipeline([Stage(echo, 1, 2), Stage(hang, 2, 3)], ignore) as pipeline:
            while True:
                await pipeline.put(put)
                put += 1

    with pytest.raises(TimeoutError):
        await fill()
    # Two in the last stage and three before it; one that waits to go on, and two before that.
    assert put == 8


async def test_drop_oldest_never_waits_and_keeps_the_newest() -> None:
    dropped: list[int] = []

    async def fill() -> None:
        stages = [Stage(hang, 1, 2)]
        async with Pipeline(stages, ignore, full="drop_oldest", on_dropped=dropped.append) as pipeline:
            for value in range(10):
                await pipeline.put(value)
                await asyncio.sleep(0)
            assert (pipeline.dropped, pipeline.waiting) == (7, (2,))
            raise KeyError

    with pytest.raises(ExceptionGroup):
        await fill()
    assert dropped == [1, 2, 3, 4, 5, 6, 7]


async def test_workers_of_a_stage_run_at_the_same_time_and_what_is_done_first_waits_for_its_turn() -> None:
    release = [asyncio.Event() for _ in range(3)]
    done: list[int] = []
    out: list[int] = []

    async def wait(value: int) -> int:
        await release[value].wait()
        done.append(value)
        return value

    async def deliver(item: Item[int]) -> None:
        out.append(item.value)

    async with Pipeline([Stage(wait, 3)], deliver) as pipeline:
        for value in range(3):
            await pipeline.put(value)
        for value in (2, 1, 0):
            assert out == []
            release[value].set()
            while value not in done:
                await asyncio.sleep(0)
    assert (done, out) == ([2, 1, 0], [0, 1, 2])


async def leave(pipeline: Pipeline[int]) -> None:
    raise KeyError


async def cancelled(pipeline: Pipeline[int]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.get_loop().call_soon(task.cancel)
    await asyncio.Event().wait()


async def cancelled_while_it_drains(pipeline: Pipeline[int]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.get_loop().call_later(0.01, task.cancel)


async def cancelled_in_put(pipeline: Pipeline[int]) -> None:
    await cancelled_while_it_drains(pipeline)
    while True:
        await pipeline.put(1)


@pytest.mark.parametrize("end", [leave, cancelled, cancelled_while_it_drains, cancelled_in_put])
async def test_after_any_end_of_the_block_no_task_is_left(end: Callable[[Pipeline[int]], Awaitable[None]]) -> None:
    before = asyncio.all_tasks()

    async def block() -> None:
        async with Pipeline([Stage(echo, 2), Stage(hang, 2)], ignore) as pipeline:
            for value in range(3):
                await pipeline.put(value)
            await end(pipeline)

    task = asyncio.create_task(block())
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if end is leave:
        assert isinstance(outcome, ExceptionGroup)
        assert outcome.subgroup(KeyError) is not None
    else:
        assert isinstance(outcome, asyncio.CancelledError)
    assert asyncio.all_tasks() == before


async def test_a_delivery_that_fails_cancels_the_block() -> None:
    before = asyncio.all_tasks()

    async def deliver(item: Item[int]) -> None:
        raise ConnectionResetError

    async def block() -> None:
        async with Pipeline([Stage(echo)], deliver) as pipeline:
            await pipeline.put(1)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await block()
    assert raised.value.subgroup(ConnectionResetError) is not None
    assert asyncio.all_tasks() == before


async def test_a_stage_that_cancels_itself_costs_its_item_alone() -> None:
    async def cancel_itself(value: int) -> int:
        if value == 1:
            raise asyncio.CancelledError
        return value

    out: list[Item[int]] = []

    async def deliver(item: Item[int]) -> None:
        out.append(item)

    async with asyncio.timeout(30), Pipeline([Stage(cancel_itself)], deliver) as pipeline:
        for value in range(4):
            await pipeline.put(value)
    assert [item.value for item in out] == [0, 1, 2, 3]
    assert [item.number for item in out if item.error is not None] == [2]


async def test_a_failed_item_goes_through_the_other_stages_untouched() -> None:
    touched: list[int] = []

    async def refuse(value: int) -> int:
        raise Refused

    async def touch(value: int) -> int:
        touched.append(value)
        return value

    out: list[Item[int]] = []

    async def deliver(item: Item[int]) -> None:
        out.append(item)

    async with Pipeline([Stage(refuse), Stage(touch)], deliver) as pipeline:
        await pipeline.put(1)
    assert touched == []
    assert isinstance(out[0].error, Refused)
