"""Short calls are spread over turns of the loop, in order, and one that raises costs nobody else's."""

import asyncio
from typing import Any

from service.runtime.spread import Spread


async def turn() -> None:
    """Let the loop turn once, with all that this turn's calls ask for."""
    await asyncio.sleep(0)


async def test_a_few_are_called_in_each_turn_and_in_order() -> None:
    spread, called = Spread("a call failed", 3), list[int]()
    for number in range(8):
        spread.call(called.append, number)
    counts = []
    while len(called) < 8:
        counts.append(len(called))
        await turn()
    assert (counts, called) == ([3, 6], [*range(8)])


async def test_what_comes_while_others_wait_is_called_after_them() -> None:
    spread, called = Spread("a call failed", 2), list[int]()
    for number in range(3):
        spread.call(called.append, number)
    await turn()
    for number in range(3, 6):
        spread.call(called.append, number)
    for _ in range(5):
        await turn()
    assert called == [*range(6)]


async def test_it_rests_when_nothing_waits() -> None:
    spread, called = Spread("a call failed", 2), list[int]()
    for number in range(4):
        spread.call(called.append, number)
        for _ in range(3):
            await turn()
        assert len(called) == number + 1


async def test_one_that_raises_is_reported_and_the_others_are_called() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    spread, called = Spread("a call failed", 1), list[int]()
    spread.call([].pop)
    spread.call(called.append, 1)
    for _ in range(3):
        await turn()
    assert called == [1]
    assert [report["message"] for report in reports] == ["a call failed"]
