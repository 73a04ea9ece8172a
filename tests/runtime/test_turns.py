"""Turns: one at a time, owner after owner, and none lost to a cancellation."""

import asyncio

from service.core.owner import Owner
from service.runtime.turns import Turns


async def test_who_wants_much_does_not_hold_up_who_wants_little() -> None:
    turns, order = Turns(), []

    async def one(owner: str, number: int) -> None:
        async with turns.turn(Owner(owner)):
            order.append(f"{owner}{number}")
            await asyncio.sleep(2)

    began = asyncio.get_running_loop().time()
    tasks = [asyncio.create_task(one("a", number)) for number in range(30)]
    await asyncio.sleep(0.1)
    tasks += [asyncio.create_task(one("b", number)) for number in range(2)]
    await asyncio.gather(*tasks)
    assert order[:6] == ["a0", "a1", "b0", "a2", "b1", "a3"]
    assert asyncio.get_running_loop().time() - began >= 64
    assert repr(turns) == "<Turns 0 of 1 taken, 0 owners wait>"


async def test_a_turn_that_is_cancelled_goes_to_the_next() -> None:
    turns, order = Turns(), []

    async def one(name: str) -> None:
        async with turns.turn(Owner("a")):
            order.append(name)
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(one(name)) for name in "wxyz"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    tasks[0].cancel()
    # Given its turn and cancelled before it could take it.
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["w", "z"]
    assert not turns.taken


async def test_who_has_every_place_for_long_does_not_lock_out_the_others() -> None:
    turns, now = Turns(2, spare=1), asyncio.get_running_loop().time
    began, order = now(), []

    async def one(owner: str, seconds: float) -> None:
        async with turns.turn(Owner(owner)):
            order.append((owner, now() - began))
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(one("a", 60)) for _ in range(4)]
    await asyncio.sleep(1)
    tasks += [asyncio.create_task(one("b", 10)) for _ in range(2)]
    tasks.append(asyncio.create_task(one("c", 1)))
    await asyncio.sleep(1)
    assert (turns.taken, turns.waiting) == (3, 4)
    assert repr(turns) == "<Turns 3 of 2 taken, 3 owners wait>"
    await asyncio.gather(*tasks)
    begun = [(owner, round(at)) for owner, at in order]
    assert begun == [("a", 0), ("a", 0), ("b", 1), ("b", 11), ("c", 21), ("a", 60), ("a", 60)]
    assert (turns.taken, turns.waiting) == (0, 0)
