"""Locks by name: one user at a time for each, in the order in which they came."""

import asyncio

from service.jobs.named_locks import NamedLocks


async def test_one_at_a_time_for_each_and_none_is_left_behind() -> None:
    locks, order = NamedLocks(), list[str]()

    async def use(name: str, text: str) -> None:
        async with locks.of(name):
            order.append(text)
            await asyncio.sleep(1)
            order.append(text)

    await asyncio.gather(use("a", "1"), use("a", "2"), use("b", "3"))
    assert order[:2] == ["1", "3"]
    assert [text for text in order if text != "3"] == ["1", "1", "2", "2"]
    assert len(locks) == 0


async def test_one_that_gives_up_waiting_hands_its_lock_on() -> None:
    locks = NamedLocks()

    async def wait() -> str:
        async with locks.of("a"):
            return "mine"

    async with locks.of("a"):
        second, third = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert repr(locks) == "<NamedLocks of 1>"
    assert await third == "mine"
    assert len(locks) == 0
