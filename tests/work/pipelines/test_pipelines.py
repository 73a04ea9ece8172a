"""A run of a declared pipeline: memory that items have, and what is left of a run that ends."""

import asyncio
from typing import Any, Literal

import pytest

from service.core.errors import NotFound
from service.core.owner import Owner
from service.work.pipelines.declaration import PipelineDeclaration, StageDeclaration
from service.work.pipelines.pipeline import Item
from service.work.pipelines.pipelines import Frame, Pipelines

HERE = "tests.edge.stages"
ME = Owner("me")
Place = Literal["loop", "thread", "process"]


def pipelines_of(*stages: StageDeclaration, memory: int = 1 << 20) -> Pipelines:
    return Pipelines([PipelineDeclaration("p", list(stages))], memory, time=30, process_memory=1 << 30)


async def test_items_are_let_in_by_the_memory_that_they_came_to_need() -> None:
    stages = [StageDeclaration(f"{HERE}:{name}", place="loop", queue=8) for name in ("enlarge", "double")]
    pipelines = pipelines_of(*stages, memory=1000_000)
    pool, most = pipelines.memory.pool, 0

    async def deliver(item: Item[Frame]) -> None:
        nonlocal most
        most = max(most, pool.used)
        await asyncio.sleep(0.001)

    async with asyncio.timeout(60), pipelines.run(pipelines.find("p"), ME, deliver, "block") as run:
        for _ in range(50):
            await run.put(bytes(100))
    # Each comes to 200 kB: four fifths of the memory hold, and one more may be the first of its run.
    assert 200_000 <= most <= 1_000_000
    assert pool.refused > 0
    assert pool.used == 0
    assert pipelines.find("p").runs == set()


@pytest.mark.parametrize("places", [("loop", "loop"), ("thread", "loop"), ("process", "thread")])
async def test_however_items_grow_all_come_out_and_an_owner_has_one_item_beyond_the_bound(
    places: tuple[Place, Place],
) -> None:
    """Sizes go from 1 byte to 2 MB, in four runs of two owners, of a memory for one such item."""
    stages = [
        StageDeclaration(f"{HERE}:{name}", place=place, workers=2)
        for name, place in zip(("enlarge", "double"), places, strict=True)
    ]
    pipelines = pipelines_of(*stages, memory=1_500_000)
    pool, most, out = pipelines.memory.pool, 0, [0] * 4
    sizes = [1, 1000, 3, 900, 800, 1, 700, 1000]

    async def run(number: int) -> None:
        async def deliver(item: Item[Frame]) -> None:
            nonlocal most
            most = max(most, pool.used)
            assert item.error is None
            assert len(item.value.value) == sizes[item.number - 1] * 2000
            out[number] += 1

        owner = Owner(f"owner {number % 2}")
        async with pipelines.run(pipelines.find("p"), owner, deliver, "block") as one:
            for size in sizes:
                await one.put(bytes(size))

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*map(run, range(4)))
    finally:
        await pipelines.close()
    assert out == [len(sizes)] * 4
    assert most <= 1_500_000 + 2 * 2_000_000
    assert (pool.used, pipelines.memory._excepted) == (0, {})


async def test_the_last_stage_has_to_return_bytes() -> None:
    stage = StageDeclaration(f"{HERE}:split", place="loop")
    pipelines = pipelines_of(stage)
    out: list[Any] = []

    async def deliver(item: Item[Frame]) -> None:
        out.append(item.error)

    async with pipelines.run(pipelines.find("p"), ME, deliver, "block") as run:
        await run.put(b"a")
    assert [str(error) for error in out] == ["the last stage has to return bytes"]


async def test_a_pipeline_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="pipeline 'q': there is none"):
        pipelines_of(StageDeclaration(f"{HERE}:double")).find("q")
