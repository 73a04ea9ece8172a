"""An alarm knows its time on every loop, and rings once."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from service.upstream.alarm import Alarm


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("delay", [-1.0, 0.0, 0.0003, 0.0104])
def test_it_knows_its_time_and_rings_once(new_loop: Callable[[], asyncio.AbstractEventLoop], delay: float) -> None:
    async def ring() -> None:
        rung: list[str] = []
        done = asyncio.Event()
        at = asyncio.get_running_loop().time() + delay
        alarm = Alarm(at, lambda word: (rung.append(word), done.set()), "now")  # type: ignore[func-returns-value]
        assert alarm.at == at
        assert "Alarm at" in repr(alarm)
        await asyncio.wait_for(done.wait(), 5)
        alarm.cancel()
        assert rung == ["now"]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ring())


async def test_one_that_was_cancelled_does_not_ring() -> None:
    rung: list[int] = []
    alarm = Alarm(asyncio.get_running_loop().time() + 1, rung.append, 1)
    alarm.cancel()
    alarm.cancel()
    await asyncio.sleep(2)
    assert rung == []
