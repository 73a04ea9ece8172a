"""All pipelines that are declared, with the places where their stages run, and the runs that are open."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.core.errors import NotFound
from service.core.owner import Owner
from service.runtime.threads import ThreadUnavailable
from service.work.pipelines.declaration import PipelineDeclaration, StageDeclaration
from service.work.pipelines.figures import PipelineFigures, StageFigures, StageStatistics
from service.work.pipelines.frames import FrameMemory, MemoryReservation
from service.work.pipelines.item import ItemFailed, Output
from service.work.pipelines.pipeline import Full, Item, Pipeline, Stage
from service.work.pipelines.places import InProcess, InThread, OnLoop, Pickled, StageExecutor
from service.work.pipelines.stage_calls import WORKER, function_of
from service.work.worker_pool import StepTimeout, WorkerPool
from service.work.worker_process import WorkerGone

__all__ = ["DeclaredPipeline", "Frame", "PipelineRun", "Pipelines"]

_log = logging.getLogger("sluice.pipelines")


@dataclass(slots=True, eq=False)
class Frame:
    """What goes through the stages: the value, what is known of the item, and the memory that it has."""

    value: Any
    began: float
    taken: int
    facts: dict[str, Any] = field(default_factory=dict)


class DeclaredPipeline:
    """One pipeline: its places are shared by all of its runs, which take turns by owner."""

    def __init__(self, declaration: PipelineDeclaration, *, time: float, memory: int, processes: int) -> None:
        self.declaration = declaration
        stages = declaration.stages
        self.figures = PipelineFigures({stage.name: StageFigures() for stage in stages})
        self.runs: set[PipelineRun] = set()
        in_processes = [stage for stage in stages if stage.place == "process"]
        modules = dict.fromkeys(stage.run.partition(":")[0] for stage in in_processes)
        self._workers = WorkerPool(
            max(1, min(processes, sum(stage.workers for stage in in_processes))), (WORKER, *modules), memory=memory
        )
        self.places: dict[str, StageExecutor] = {stage.name: self._place(stage, time) for stage in stages}

    def __repr__(self) -> str:
        return f"<DeclaredPipeline {self.declaration.name}, {len(self.runs)} runs>"

    def _place(self, stage: StageDeclaration, time: float) -> StageExecutor:
        if stage.place == "process":
            return InProcess(stage.run, self._workers, time)
        function = function_of(stage.run)
        return OnLoop(function, time) if stage.place == "loop" else InThread(function, stage.workers, time)

    def statistics(self) -> dict[str, StageStatistics]:
        """Return a snapshot of each stage."""
        waiting = [sum(column) for column in zip(*(run.waiting for run in self.runs), strict=True)]
        waiting = waiting or [0] * len(self.figures.stages)
        return {
            name: StageStatistics(count, figures)
            for (name, figures), count in zip(self.figures.stages.items(), waiting, strict=True)
        }

    async def close(self) -> None:
        """End its threads and processes."""
        for place in self.places.values():
            place.close()
        await self._workers.close()


class PipelineRun:
    """One client's items on their way through a pipeline: ``async with`` it, as with :class:`Pipeline`."""

    def __init__(
        self,
        declared: DeclaredPipeline,
        memory: FrameMemory,
        owner: Owner,
        deliver: Callable[[Item[Frame]], Awaitable[None]],
        full: Full,
    ) -> None:
        self._declared = declared
        self._owner = owner
        self._full = full
        self._reservation = MemoryReservation(memory, owner)
        self._under_way: dict[Frame, None] = {}
        """In their order."""
        self._clock = asyncio.get_running_loop().time
        self._deliver_on = deliver
        stages = [self._stage(stage) for stage in declared.declaration.stages]
        self._pipeline = Pipeline(stages, self._deliver, full=full, on_dropped=self._dropped)

    def __repr__(self) -> str:
        return f"<PipelineRun of {self._declared.declaration.name} for {self._owner!r}>"

    @property
    def waiting(self) -> tuple[int, ...]:
        """How many items wait for each stage."""
        return self._pipeline.waiting

    def count_cut(self) -> None:
        """Count a client that took none of its outputs."""
        self._declared.figures.cut += 1

    def age(self, item: Item[Frame]) -> float:
        """Return the seconds since an item was put in."""
        return self._clock() - item.value.began

    async def put(self, data: bytes) -> None:
        """Put an item in, as ``full`` says, when there is memory for it."""
        began = self._clock()
        taken = await self._reservation.reserve(len(data))
        frame = Frame(data, began, taken)
        self._under_way[frame] = None
        await self._pipeline.put(frame)

    async def __aenter__(self) -> "PipelineRun":
        await self._pipeline.__aenter__()
        self._declared.runs.add(self)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._pipeline.__aexit__(*raised)
        finally:
            self._declared.runs.discard(self)
            self._reservation.close()

    def _dropped(self, frame: Frame) -> None:
        self._declared.figures.dropped += 1
        del self._under_way[frame]
        self._reservation.release(frame.taken)

    async def _deliver(self, item: Item[Frame]) -> None:
        if item.error is None and not isinstance(item.value.value, bytes | bytearray | memoryview):
            item.error = ItemFailed("the last stage has to return bytes")
        await self._deliver_on(item)
        del self._under_way[item.value]
        self._reservation.came_out(item.value.taken)

    def _stage(self, stage: StageDeclaration) -> Stage[Frame]:
        figures, place = self._declared.figures.stages[stage.name], self._declared.places[stage.name]

        async def run(frame: Frame) -> Frame:
            began = self._clock()
            figures.running += 1
            try:
                output = await self._called(place, frame)
            except Exception as error:
                figures.outcomes["failed"] += 1
                raise ItemFailed(
                    f"{stage.name}: {_detail(self._declared.declaration.name, stage.name, error)}"
                ) from error
            finally:
                figures.running -= 1
                figures.seconds.observe(self._clock() - began)
            figures.outcomes["ok"] += 1
            frame.value = output.value
            frame.facts |= output.facts
            frame.taken = self._reservation.grow(frame.taken, _size(output.value))
            return frame

        return Stage(run, stage.workers, stage.queue)

    async def _called(self, place: StageExecutor, frame: Frame) -> Output:
        """Have a stage process a frame, when there is memory for what it makes of it."""
        output = await place.call(frame.value, self._owner)
        size = _size(output.value)
        if self._reservation.fits(frame.taken, size):
            return output
        if place.repeats:
            del output
        frame.taken = await self._reservation.wait_to_grow(
            frame.taken, size, lambda: next(iter(self._under_way)) is frame
        )
        return await place.call(frame.value, self._owner) if place.repeats else output


def _detail(pipeline: str, stage: str, error: Exception) -> str:
    """Return what a client may know of an error; a bug in a stage is logged, and its text does not leave."""
    if isinstance(error, ItemFailed | StepTimeout | ThreadUnavailable | WorkerGone):
        return str(error)
    _log.error("a stage raised", exc_info=error, extra={"pipeline": pipeline, "stage": stage})
    return "internal error in the stage; the service's log says more"


def _size(value: Any) -> int:
    """Return the bytes of a value, where they can be known without walking through it."""
    if isinstance(value, Pickled):
        return len(value.data)
    if isinstance(value, bytes | bytearray):
        return len(value)
    size = getattr(value, "nbytes", 0)
    return size if isinstance(size, int) else 0


class Pipelines:
    """Every pipeline by its name; ``missing`` says of others why they cannot be used here."""

    def __init__(
        self,
        declarations: Sequence[PipelineDeclaration],
        memory: int,
        *,
        time: float,
        process_memory: int,
        processes: int = 1000,
        missing: dict[str, str] | None = None,
    ) -> None:
        self.memory = FrameMemory(memory)
        self._missing = missing or {}
        self.declared = {
            one.name: DeclaredPipeline(one, time=time, memory=process_memory, processes=processes)
            for one in declarations
        }

    def __repr__(self) -> str:
        return f"<Pipelines {', '.join(self.declared)}>"

    def find(self, name: str) -> DeclaredPipeline:
        """Return a pipeline; raises NotFound, which says what to install where that would help."""
        found = self.declared.get(name)
        if found is None:
            raise NotFound(f"pipeline {name!r}: {self._missing.get(name, 'there is none of that name')}")
        return found

    def run(
        self,
        declared: DeclaredPipeline,
        owner: Owner,
        deliver: Callable[[Item[Frame]], Awaitable[None]],
        full: Full,
    ) -> PipelineRun:
        """Return a run of a pipeline, to be entered."""
        return PipelineRun(declared, self.memory, owner, deliver, full)

    async def close(self) -> None:
        """End all threads and processes."""
        for declared in self.declared.values():
            await declared.close()
