"""One timer for many time limits: late by at most a twentieth of a second, and never against the wrong task."""

import asyncio
from collections import Counter

import pytest

from service.upstream.deadlines import Deadlines
from tests.virtual import VirtualClockLoop


async def limited(deadlines: Deadlines, seconds: float, job: float) -> str:
    task = asyncio.current_task()
    assert task is not None
    deadlines.begin(task, seconds)
    try:
        await asyncio.sleep(job)
    except asyncio.CancelledError:
        if not deadlines.uncancel(task):
            raise
        return "overdue"
    else:
        return "done"
    finally:
        deadlines.end(task)


async def test_each_task_has_its_own_limit() -> None:
    deadlines = Deadlines()
    jobs = [limited(deadlines, limit, 5.0) for limit in (1.0, 9.0, 2.0)]
    assert await asyncio.gather(*jobs) == ["overdue", "done", "overdue"]
    deadlines.close()


async def test_a_task_that_was_cut_goes_on_uncancelled() -> None:
    deadlines = Deadlines()
    task = asyncio.current_task()
    assert task is not None
    assert await limited(deadlines, 1.0, 5.0) == "overdue"
    assert task.cancelling() == 0
    await asyncio.sleep(1.0)
    deadlines.close()


async def test_a_cancellation_from_outside_goes_through() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(limited(deadlines, 9.0, 20.0))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadlines.close()


async def test_nothing_ticks_when_nothing_is_limited() -> None:
    deadlines = Deadlines()
    await limited(deadlines, 1.0, 0.01)
    await asyncio.sleep(1.0)
    assert not deadlines._timer.running


async def test_a_limit_can_be_moved() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(limited(deadlines, 1.0, 5.0))
    await asyncio.sleep(0.5)
    deadlines.begin(task, 10.0)
    assert await task == "done"
    deadlines.close()


async def test_hundreds_that_are_due_together_end_a_few_in_each_turn() -> None:
    loop, deadlines, ended = asyncio.get_running_loop(), Deadlines(), Counter[int]()
    assert isinstance(loop, VirtualClockLoop)

    async def stalled() -> str:
        outcome = await limited(deadlines, 2.0, 5.0)
        ended[loop.turns] += 1
        return outcome

    assert await asyncio.gather(*(stalled() for _ in range(100))) == ["overdue"] * 100
    assert max(ended.values()) <= 8
    assert loop.time() < 2.2
    deadlines.close()
