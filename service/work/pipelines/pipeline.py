"""A bounded pipeline: items go through stages, several at a time in each, and come out in the order they went in.

    async with Pipeline(stages, deliver) as pipeline:
        async for value in source:
            await pipeline.put(value)

The block owns all that runs for it. Left normally, it waits until all that was put in has been delivered. Left by
an exception, a cancellation among them, it cancels everything first. An exception in ``deliver`` cancels the block.

Each stage has a queue of its own and so many workers. A full stage holds back the one before it, up to ``put``. A
value that a stage cannot process becomes an item with an error, which goes on through the others untouched: so all
that goes in comes out, or was dropped at the entrance and is counted with the item that followed.

    state    | enter   | put     | leave    | done    | fail
    ---------|---------|---------|----------|---------|--------
    NEW      | OPEN    | refused | refused  | refused | refused
    OPEN     | refused | OPEN    | DRAINING | refused | ENDED
    DRAINING | refused | refused | refused  | ENDED   | ENDED
    ENDED    | refused | refused | refused  | refused | refused

*Enter* and *leave*: the block begins, and ends normally. *Done*: all that was put in has been delivered. *Fail*:
the block, ``deliver`` or its own end raises, a cancellation among them. What is refused raises RuntimeError: a
value that is put into a pipeline that drains would never come out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, Final, Generic, Literal, TypeVar

from service.work.pipelines.channel import Channel, Closed, InOrder

__all__ = ["Full", "Item", "Pipeline", "PipelineState", "Stage"]

T = TypeVar("T")
Full = Literal["block", "drop_oldest"]
"""What ``put`` does where the first stage is full: wait, or drop what has waited there longest."""


class PipelineState(Enum):
    """How far the block of a pipeline is."""

    NEW = auto()
    OPEN = auto()
    DRAINING = auto()
    """What was put in comes out."""
    ENDED = auto()


_FOLLOWING: Final = {
    (PipelineState.NEW, "enter"): PipelineState.OPEN,
    (PipelineState.OPEN, "put"): PipelineState.OPEN,
    (PipelineState.OPEN, "leave"): PipelineState.DRAINING,
    (PipelineState.OPEN, "fail"): PipelineState.ENDED,
    (PipelineState.DRAINING, "done"): PipelineState.ENDED,
    (PipelineState.DRAINING, "fail"): PipelineState.ENDED,
}


@dataclass(slots=True)
class Item(Generic[T]):
    """A value on its way."""

    number: int
    """From 1, as they were put in."""
    value: T
    dropped: int = 0
    """How many items just before it were dropped at the entrance."""
    error: Exception | None = None
    """Why a stage could not process it."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[T]):
    """A step of the way: ``workers`` values are in it at a time, and ``queue`` wait for it."""

    run: Callable[[T], Awaitable[T]]
    workers: int = 1
    queue: int = 1


class Pipeline(Generic[T]):
    """One run of values through stages; ``deliver`` gets the items one after the other."""

    def __init__(
        self,
        stages: Sequence[Stage[T]],
        deliver: Callable[[Item[T]], Awaitable[None]],
        *,
        full: Full = "block",
        on_dropped: Callable[[T], None] = lambda value: None,
    ) -> None:
        self._stages = stages
        self._deliver = deliver
        self._full = full
        self._on_dropped = on_dropped
        self._channels: list[Channel[Item[T]]] = [*(Channel(stage.queue) for stage in stages), Channel(1)]
        self._tasks = asyncio.TaskGroup()
        self._number = 0
        self.state = PipelineState.NEW
        self.dropped = 0
        """How many values were dropped at the entrance."""

    def __repr__(self) -> str:
        return f"<Pipeline of {len(self._stages)} stages, {self._number} put in, {self.waiting} waiting>"

    @property
    def waiting(self) -> tuple[int, ...]:
        """How many items wait for each stage."""
        return tuple(len(channel) for channel in self._channels[:-1])

    @property
    def capacity(self) -> int:
        """The most items that may be under way: waiting, in a stage, or being delivered."""
        return sum(stage.queue + stage.workers for stage in self._stages) + 2

    async def put(self, value: T) -> None:
        """Put a value in, when the first stage has room; or in place of the one that has waited for it longest.

        One task puts: the items are numbered in the order of the calls.
        """
        self._move("put")
        self._number += 1
        entrance, item = self._channels[0], Item(self._number, value)
        if self._full == "drop_oldest" and entrance.full and (oldest := entrance.pop_oldest()) is not None:
            heir = entrance.oldest or item
            heir.dropped += oldest.dropped + 1
            self.dropped += 1
            self._on_dropped(oldest.value)
        await entrance.put(item)

    def _move(self, event: str) -> None:
        following = _FOLLOWING.get((self.state, event))
        if following is None:
            raise RuntimeError(f"{self!r} is {self.state.name.lower()}: {event} is refused")
        self.state = following

    async def __aenter__(self) -> "Pipeline[T]":
        self._move("enter")
        await self._tasks.__aenter__()
        for place, stage in enumerate(self._stages):
            self._start(stage, self._channels[place], self._channels[place + 1])
        self._tasks.create_task(self._deliver_all(self._channels[-1]), name="pipeline")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = "fail"
        try:
            if error is None:
                self._move("leave")
                try:
                    await self._channels[0].close()
                except asyncio.CancelledError as cancelled:
                    kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
            await self._tasks.__aexit__(kind, error, trace)
            ended = "done" if error is None else "fail"
        finally:
            self._move(ended)

    def _start(self, stage: Stage[T], inbox: Channel[Item[T]], outbox: Channel[Item[T]]) -> None:
        order, left = InOrder(), stage.workers

        async def work() -> None:
            nonlocal left
            while True:
                try:
                    ticket, item = await inbox.get()
                except Closed:
                    break
                if item.error is None:
                    await _carry_out(stage, item)
                await order.wait(ticket)
                await outbox.put(item)
                await order.done()
            left -= 1
            if not left:
                await outbox.close()

        for _ in range(stage.workers):
            self._tasks.create_task(work(), name="pipeline")

    async def _deliver_all(self, outbox: Channel[Item[T]]) -> None:
        while True:
            try:
                _, item = await outbox.get()
            except Closed:
                return
            await self._deliver(item)


async def _carry_out(stage: Stage[Any], item: Item[Any]) -> None:
    """Have a stage process an item; that it cannot is the item's error, and nobody else's."""
    try:
        item.value = await stage.run(item.value)
    except Exception as error:
        item.error = error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # The stage cancelled itself: a worker that ended of it would hold up all others for ever.
        item.error = RuntimeError(f"the stage was cancelled from inside: {error!r}")
