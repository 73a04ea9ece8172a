"""Where a stage's function runs: on the loop, in a thread, or in a process."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import orjson

from service.core.owner import Owner
from service.runtime.threads import call_in_thread
from service.runtime.turns import Turns
from service.work.errands import Errand
from service.work.guarded import ended_by, guarded
from service.work.pipelines.item import ItemFailed, Output
from service.work.pipelines.stage_calls import BYTES, PICKLED, STEP
from service.work.worker_pool import StepTimeout, WorkerPool

__all__ = ["InProcess", "InThread", "OnLoop", "Pickled", "StageExecutor"]


@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that only processes read."""

    data: memoryview


class StageExecutor(Protocol):
    """Calls one function with one value after another, or several at a time."""

    repeats: bool
    """Whether a call may be repeated, so that its output may be dropped while memory is short."""

    async def call(self, value: object, owner: Owner) -> Output:
        """Return what the function returns; raises what it raises, StepTimeout, and WorkerGone."""
        ...

    def close(self) -> None:
        """Take no more calls."""
        ...


class OnLoop:
    """For what is done in less than a millisecond, and for coroutines that wait."""

    repeats = False

    def __init__(self, function: Callable[[Any], Any], time: float) -> None:
        self._function = function
        self._time = time

    async def call(self, value: Any, owner: Owner) -> Output:
        """Call it here."""
        try:
            made = self._function(_readable(value))
            if inspect.isawaitable(made):
                made = await self._within_time(made)
        except (Exception, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            raise ended_by(error) from error
        return _output(made)

    async def _within_time(self, made: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._time) as limit:
                return await made
        except TimeoutError:
            if not limit.expired():
                raise
            raise _too_long(self._time) from None

    def close(self) -> None:
        """Do nothing: calls end with the tasks that make them."""


class InThread:
    """For what waits, or computes without the interpreter's lock."""

    repeats = False

    def __init__(self, function: Callable[[Any], Any], workers: int, time: float) -> None:
        self._function = function
        self._time = time
        self._turns = Turns(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pipelines")

    async def call(self, value: Any, owner: Owner) -> Output:
        """Call it in a thread, when it is the owner's turn."""
        argument = _readable(value)
        async with self._turns.turn(owner):
            call = call_in_thread(self._threads, guarded, self._function, argument)
            # A thread cannot be ended; one that hangs keeps its place, and what waits for it times out too.
            done, _ = await asyncio.wait([call], timeout=self._time)
            if not done:
                call.cancel()
                raise _too_long(self._time)
            return _output(call.result())

    def close(self) -> None:
        """Begin no more calls; threads that are in one end with it."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class InProcess:
    """For what computes, or reads what may be hostile; the processes are those of the whole pipeline."""

    repeats = True
    """As where its process is killed."""

    def __init__(self, run: str, workers: WorkerPool, time: float) -> None:
        self._parameters: Final = msgspec.Raw(msgspec.json.encode({"run": run}))
        self._workers = workers
        self._time = time

    async def call(self, value: Any, owner: Owner) -> Output:
        """Call it in a process, when it is the owner's turn."""
        kind, data = (PICKLED, value.data) if isinstance(value, Pickled) else (BYTES, value)
        if not isinstance(value, Pickled | bytes):
            raise ItemFailed(
                f"the stage before it must return bytes, not {type(value).__name__}: only a stage in a process "
                "may give another value to one"
            )
        answer, made = await self._workers.carry_out(
            Errand(STEP, self._parameters, kind, ""), data, owner, self._time
        )
        if answer.failed is not None:
            raise ItemFailed(answer.failed)
        if answer.broken is not None:
            raise RuntimeError(answer.broken)
        facts = msgspec.json.decode(made[: answer.fields])["facts"]
        product = memoryview(made)[answer.fields :]  # a decoded picture is not copied
        return Output(Pickled(product) if answer.type == PICKLED else bytes(product), facts)

    def close(self) -> None:
        """Do nothing: the pool is closed by the one who made it."""


def _readable(value: Any) -> Any:
    if isinstance(value, Pickled):
        raise ItemFailed("the stage before it, in a process, has to return bytes to one that is elsewhere")
    return value


def _output(made: Any) -> Output:
    output = made if isinstance(made, Output) else Output(made)
    orjson.dumps(dict(output.facts))  # raises here what would fail the run where its line is published
    return output


def _too_long(time: float) -> StepTimeout:
    return StepTimeout(f"took longer than {time:g} s")
