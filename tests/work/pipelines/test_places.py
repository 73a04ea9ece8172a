"""Where stages run: values to and from processes, what is said of failures, and what is left behind."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.owner import Owner
from service.runtime.threads import ThreadUnavailable
from service.work.pipelines.item import ItemFailed, Output
from service.work.pipelines.places import InProcess, InThread, OnLoop, Pickled, StageExecutor
from service.work.pipelines.stage_calls import function_of
from service.work.worker_pool import StepTimeout, WorkerPool
from service.work.worker_process import WorkerGone
from tests.edge import stages

HERE = "tests.edge.stages"
ME = Owner("me")


@asynccontextmanager
async def workers() -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(1, ("service.work.pipelines.in_process", HERE), memory=1 << 30)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def on_loop(name: str, time: float) -> AsyncIterator[StageExecutor]:
    yield OnLoop(getattr(stages, name), time)


@asynccontextmanager
async def in_thread(name: str, time: float) -> AsyncIterator[StageExecutor]:
    place = InThread(getattr(stages, name), 1, time)
    yield place
    place.close()


@asynccontextmanager
async def in_process(name: str, time: float) -> AsyncIterator[StageExecutor]:
    async with workers() as pool:
        yield InProcess(f"{HERE}:{name}", pool, time)


@pytest.mark.parametrize("place_of", [on_loop, in_thread, in_process], ids=lambda one: one.__name__)
class TestPlaceContract:
    """Guarantees for a stage, in each place where its function may run."""

    async def test_an_item_has_its_output_its_refusal_or_its_error_and_the_next_goes_on(
        self, place_of: Any
    ) -> None:
        async with place_of("facts", 30) as place:
            assert await place.call(b"abc", ME) == Output(b"ABC", {"faces": 3})
            with pytest.raises(ItemFailed, match="^not this one$"):
                await place.call(b"bad", ME)
            with pytest.raises((KeyError, RuntimeError), match="secret"):
                await place.call(b"bug", ME)
            assert (await place.call(b"a", ME)).value == b"A"

    async def test_what_takes_too_long_costs_its_item_and_a_cancelled_call_frees_its_place(
        self, place_of: Any
    ) -> None:
        stages.release.clear()
        try:
            async with place_of("never" if place_of is on_loop else "hold", 0.05) as place:
                with pytest.raises(StepTimeout, match=r"^took longer than 0\.05 s$"):
                    await place.call(b"a", ME)
                if place_of is in_process:
                    return  # a process that is cancelled while it starts has tests of its own
                call = asyncio.create_task(place.call(b"b", ME))
                await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        finally:
            stages.release.set()

    async def test_it_may_be_closed_twice(self, place_of: Any) -> None:
        async with place_of("double", 30) as place:
            assert await place.call(b"a", ME) == Output(b"aa")
            place.close()
            place.close()


async def test_between_processes_any_value_goes_and_the_service_does_not_read_it() -> None:
    async with workers() as pool:
        split, join = (InProcess(f"{HERE}:{name}", pool, 30) for name in ("split", "join"))
        between = await split.call(b"this", ME)
        assert isinstance(between.value, Pickled)
        assert await join.call(between.value, ME) == Output(b"this and")
        assert await InProcess(f"{HERE}:facts", pool, 30).call(b"abc", ME) == Output(b"ABC", {"faces": 3})
        with pytest.raises(ItemFailed, match="has to return bytes to one that is elsewhere"):
            await OnLoop(stages.join, 30).call(between.value, ME)
        with pytest.raises(ItemFailed, match="must return bytes, not list"):
            await join.call([b"a"], ME)


async def test_what_a_process_says_of_an_item_that_fails_and_of_its_own_end() -> None:
    async with workers() as pool:
        facts = InProcess(f"{HERE}:facts", pool, 30)
        with pytest.raises(ItemFailed, match="^not this one$"):
            await facts.call(b"bad", ME)
        with pytest.raises(RuntimeError, match="KeyError: 'secret'"):
            await facts.call(b"bug", ME)
        with pytest.raises(WorkerGone):
            await InProcess(f"{HERE}:split", pool, 30).call(b"die", ME)
        assert (await facts.call(b"a", ME)).value == b"A"
        with pytest.raises(StepTimeout, match=r"took longer than 0\.05 s"):
            await InProcess(f"{HERE}:hold", pool, 0.05).call(b"a", ME)


async def test_a_thread_that_hangs_costs_its_item_and_what_is_cancelled_frees_the_place() -> None:
    stages.release.clear()
    place = InThread(stages.hold, 1, 0.05)
    try:
        with pytest.raises(StepTimeout):
            await place.call(b"a", ME)
        waiting = [asyncio.create_task(place.call(b"b", ME)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        stages.release.set()
        patient = InThread(stages.double, 1, 30)
        assert await patient.call(b"c", ME) == Output(b"cc")
        patient.close()
    finally:
        stages.release.set()
        place.close()


async def test_on_the_loop_functions_and_coroutines_run() -> None:
    assert await OnLoop(stages.double, 30).call(b"a", ME) == Output(b"aa")
    with pytest.raises(StepTimeout):
        await OnLoop(stages.never, 0.01).call(b"a", ME)

    async def times_out(data: bytes) -> bytes:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await OnLoop(times_out, 30).call(b"a", ME)


class Quit(BaseException):
    pass


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, StopIteration, GeneratorExit, Quit])
async def test_what_would_end_the_loop_or_hang_a_future_is_an_error_of_the_item(
    raised: type[BaseException],
) -> None:
    def function(data: bytes) -> bytes:
        raise raised

    place = InThread(function, 1, 30)
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=raised.__name__):
                await place.call(b"a", ME)
    finally:
        place.close()


async def test_where_no_thread_can_be_started_an_item_fails_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with in_thread("facts", 30) as place:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ThreadUnavailable, match="a thread cannot be started"):
                await place.call(b"abc", ME)
        assert await place.call(b"abc", ME) == Output(b"ABC", {"faces": 3})


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, StopIteration, Quit])
async def test_the_same_on_the_loop(raised: type[BaseException]) -> None:
    def function(data: bytes) -> bytes:
        raise raised

    async def later(data: bytes) -> bytes:
        await asyncio.sleep(0)
        raise raised

    for one in (function, later):
        with pytest.raises(RuntimeError, match=raised.__name__):
            await OnLoop(one, 30).call(b"a", ME)


@pytest.mark.parametrize("facts", [{"at": object()}, {"n": 1 << 70}, {"\ud800": 1}, None, 7])
async def test_facts_that_are_not_json_are_an_error_of_the_item(facts: Any) -> None:
    with pytest.raises(TypeError):
        await OnLoop(lambda data: Output(data, facts), 30).call(b"a", ME)
    place = InThread(lambda data: Output(data, facts), 1, 30)
    try:
        with pytest.raises(TypeError):
            await place.call(b"a", ME)
    finally:
        place.close()


def test_a_name_that_is_not_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="NOTHING is not a function"):
        function_of(f"{HERE}:NOTHING")


def test_no_client_can_ask_for_the_step_that_calls_any_function() -> None:
    """What the service imports registers no such step; worker processes alone do."""
    code = (
        "import service.serving, service.command_line\n"
        "from service.work.opening import import_steps\n"
        "from service.work.pipelines.opening import open_pipelines\n"
        "from service.work.step import STEPS\n"
        "import_steps()\n"
        "print(*sorted(STEPS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["count", "digest", "links", "save", "select", "text", "thumbnail"]
