"""How late the loop is, by a clock that the test turns."""

import asyncio
import time
from typing import Any

import pytest

from service.ops.loop_lag import LoopLag


async def test_the_worst_of_the_last_second_and_all_of_them_in_the_histogram() -> None:
    loop = asyncio.get_running_loop()
    late = 0.0
    lag = LoopLag(lambda: loop.time() + late)
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.55)
    late = 0.3  # something held the loop for so long
    await asyncio.sleep(0.1)
    assert round(lag.worst, 6) == 0.3
    assert dict(lag.delays.cumulative())[0.25] == 5
    await asyncio.sleep(1.0)
    assert lag.worst < 0.001
    assert sum(lag.delays.counts) == 16
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("used", "why"), [(0.01, "the process did not run"), (40.0, "the process was busy")])
async def test_a_standstill_is_logged_once_a_minute_with_its_likely_cause(
    used: float, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    late = cpu = 0.0
    monkeypatch.setattr(time, "process_time", lambda: cpu)
    lag = LoopLag(lambda: loop.time() + late)
    task = asyncio.create_task(lag.run())
    for more in (4.9, 50.0, 5.0, 60.0):
        await asyncio.sleep(0.55)
        late, cpu = late + more, cpu + used * more / 50
    await asyncio.sleep(0.55)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found: list[Any] = [vars(one) for one in caplog.records if one.message == "the event loop stood still"]
    assert [(one["seconds"], one["count"]) for one in found] == [(50.0, 1), (60.0, 2)]
    assert all(one["why"].startswith(why) for one in found)
