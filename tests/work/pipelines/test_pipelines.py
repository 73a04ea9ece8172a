"""A run of a declared pipeline: memory that items have, and what is left of a run that ends."""

import asyncio
from typing import Any

import pytest

from service.core.errors import NotFound
from service.core.owner import Owner
from service.work.pipelines.declaration import PipelineDeclaration, StageDeclaration
from service.work.pipelines.pipeline import Item
from service.work.pipelines.pipelines import Frame, Pipelines

HERE = "tests.edge.stages"
ME = Owner("me")


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
    # Each comes to 200 kB. Some were in before that was known; from then on four fifths of the memory hold.
    assert 200_000 <= most <= 4_000_000
    assert pool.refused > 0
    assert pool.used == 0
    assert pipelines.find("p").runs == set()


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
