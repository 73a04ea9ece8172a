"""How late the loop is, by a clock that the test turns."""

import asyncio

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
