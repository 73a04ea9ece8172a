"""A timer knows its time on every loop, and rings once."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from service.runtime.timer import IdleTimer, Timer, WakeUp


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("delay", [-1.0, 0.0, 0.0003, 0.0104])
def test_it_knows_its_time_and_rings_once(new_loop: Callable[[], asyncio.AbstractEventLoop], delay: float) -> None:
    async def ring() -> None:
        rung: list[str] = []
        done = asyncio.Event()
        at = asyncio.get_running_loop().time() + delay
        timer = Timer(at, lambda word: (rung.append(word), done.set()), "now")  # type: ignore[func-returns-value, arg-type]
        assert timer.at == at
        assert "Timer at" in repr(timer)
        await asyncio.wait_for(done.wait(), 5)
        timer.cancel()
        assert rung == ["now"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ring())


async def test_one_that_was_cancelled_does_not_ring() -> None:
    rung: list[int] = []
    timer = Timer(asyncio.get_running_loop().time() + 1, rung.append, 1)
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(2)
    assert rung == []


async def test_a_timer_of_idleness_rings_once_after_its_last_restart() -> None:
    rung: list[float] = []
    clock = asyncio.get_running_loop().time
    timer = IdleTimer(lambda: rung.append(clock()))
    for _ in range(3):
        timer.restart(10)
        await asyncio.sleep(9)
    assert (rung, repr(timer)) == ([], "<IdleTimer running>")
    began = clock()
    await asyncio.sleep(50)
    assert rung == [began + 1]
    timer.restart(5)
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(50)
    assert (len(rung), repr(timer)) == (1, "<IdleTimer at rest>")


async def test_the_time_of_a_wake_up_never_goes_back_though_the_loop_calls_early() -> None:
    seen: list[float] = []
    wake_up = WakeUp(lambda: seen.append(wake_up.now()))
    begun = asyncio.get_running_loop().time()
    wake_up._ring(begun + 0.0004)
    wake_up._ring(begun + 0.0001)
    assert seen == [begun + 0.0004] * 2
