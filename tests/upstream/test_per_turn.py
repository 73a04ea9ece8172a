"""A few at a time, in the order in which they came, and nobody who has gone holds anyone up."""

import asyncio

from service.core.owner import Owner
from service.upstream.per_turn import PerTurnLimiter

A, B = Owner("a"), Owner("b")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def crowd(limiter: PerTurnLimiter, count: int) -> tuple[list[int], list[asyncio.Task[None]]]:
    passed: list[int] = []

    async def come(number: int) -> None:
        await limiter.wait(A)
        passed.append(number)

    tasks = [asyncio.create_task(come(number)) for number in range(count)]
    await turns(1)
    return passed, tasks


async def test_a_caller_that_comes_alone_does_not_wait() -> None:
    limiter = PerTurnLimiter(2)
    for _ in range(10):
        before = asyncio.get_running_loop().time()
        await asyncio.wait_for(limiter.wait(A), 1)
        assert asyncio.get_running_loop().time() == before
        await turns(3)


async def test_a_crowd_passes_in_its_order_a_few_each_turn() -> None:
    limiter = PerTurnLimiter(2)
    passed, tasks = await crowd(limiter, 20)
    assert passed == [0, 1]
    most, before = 0, 2
    while len(passed) < 20:
        await turns(1)
        most, before = max(most, len(passed) - before), len(passed)
    assert passed == list(range(20))
    assert most <= 2
    await asyncio.gather(*tasks)


async def test_a_latecomer_does_not_pass_those_who_wait() -> None:
    limiter = PerTurnLimiter(1)
    passed, tasks = await crowd(limiter, 5)
    late = asyncio.create_task(limiter.wait(A))
    while not late.done():
        await turns(1)
    assert passed == [0, 1, 2, 3, 4]
    await asyncio.gather(*tasks, late)


async def test_a_caller_that_has_gone_takes_no_place() -> None:
    limiter = PerTurnLimiter(1)
    passed, tasks = await crowd(limiter, 100)
    for task in tasks[1:99]:
        task.cancel()
    await turns(6)
    assert passed == [0, 99]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert repr(limiter) == "<PerTurnLimiter 0 waiting>"


async def test_what_costs_more_passes_less_often_and_owners_take_turns_by_cost() -> None:
    limiter = PerTurnLimiter(100, 50)
    passed: list[str] = []

    async def come(owner: Owner, cost: int) -> None:
        await limiter.wait(owner, cost)
        passed.append(owner)

    many = [asyncio.create_task(come(A, 50)) for _ in range(40)]
    other = [asyncio.create_task(come(B, 10)) for _ in range(20)]
    await turns(1)
    assert passed == ["a", "a"]
    while not all(task.done() for task in other):
        before = len(passed)
        await turns(1)
        assert len(passed) - before <= 8
    assert passed.count("a") <= 10
    await asyncio.gather(*many)


async def test_it_rests_when_nobody_comes() -> None:
    limiter = PerTurnLimiter(2)
    _, tasks = await crowd(limiter, 10)
    await asyncio.gather(*tasks)
    await turns(3)
    assert not limiter._turning


async def test_another_owner_waits_for_one_turn_and_not_for_the_crowd() -> None:
    limiter = PerTurnLimiter(2)
    passed, tasks = await crowd(limiter, 50)
    other = asyncio.create_task(limiter.wait(B))
    await turns(3)
    assert other.done()
    assert len(passed) < 10
    await asyncio.gather(*tasks)
    assert passed == list(range(50))
