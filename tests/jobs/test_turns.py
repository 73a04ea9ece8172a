"""Turns: one at a time for each, in the order in which they came."""

import asyncio

from service.jobs.turns import Turns


async def test_one_at_a_time_for_each_and_none_is_left_behind() -> None:
    turns, order = Turns(), list[str]()

    async def use(name: str, text: str) -> None:
        async with turns.of(name):
            order.append(text)
            await asyncio.sleep(1)
            order.append(text)

    await asyncio.gather(use("a", "1"), use("a", "2"), use("b", "3"))
    assert order[:2] == ["1", "3"]
    assert [text for text in order if text != "3"] == ["1", "1", "2", "2"]
    assert len(turns) == 0


async def test_one_that_gives_up_waiting_hands_its_turn_on() -> None:
    turns = Turns()

    async def wait() -> str:
        async with turns.of("a"):
            return "mine"

    async with turns.of("a"):
        second, third = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert repr(turns) == "<Turns of 1>"
    assert await third == "mine"
    assert len(turns) == 0
