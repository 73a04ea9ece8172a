"""A few at a time, in the order in which they came, and nobody who has gone or fails holds anyone up."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from service.core.owner import Owner
from service.runtime.per_turn import PerTurn

A, B, C, D = map(Owner, "abcd")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def crowd(limiter: PerTurn, count: int) -> tuple[list[int], list[asyncio.Task[None]]]:
    passed: list[int] = []

    async def come(number: int) -> None:
        await limiter.wait(A)
        passed.append(number)

    tasks = [asyncio.create_task(come(number)) for number in range(count)]
    await turns(1)
    return passed, tasks


async def test_a_caller_that_comes_alone_does_not_wait() -> None:
    limiter = PerTurn(2)
    for _ in range(10):
        before = asyncio.get_running_loop().time()
        await asyncio.wait_for(limiter.wait(A), 1)
        assert asyncio.get_running_loop().time() == before
        await turns(3)


async def test_a_crowd_passes_in_its_order_a_few_each_turn() -> None:
    limiter = PerTurn(2)
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
    limiter = PerTurn(1)
    passed, tasks = await crowd(limiter, 5)
    late = asyncio.create_task(limiter.wait(A))
    while not late.done():
        await turns(1)
    assert passed == [0, 1, 2, 3, 4]
    await asyncio.gather(*tasks, late)


async def test_a_caller_that_has_gone_takes_no_place() -> None:
    limiter = PerTurn(1)
    passed, tasks = await crowd(limiter, 100)
    for task in tasks[1:99]:
        task.cancel()
    await turns(6)
    assert passed == [0, 99]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert repr(limiter) == "<PerTurn 1 of 1 left, 0 waiting>"


async def test_what_costs_more_passes_less_often_and_owners_take_turns_by_cost() -> None:
    limiter = PerTurn(100, 50)
    passed: list[str] = []

    async def come(owner: Owner, cost: int) -> None:
        await limiter.wait(owner, cost)
        passed.append(owner)

    many = [asyncio.create_task(come(A, 50)) for _ in range(40)]
    other = [asyncio.create_task(come(B, 10)) for _ in range(20)]
    await turns(1)
    assert passed == ["a", "a", "b"]
    while not all(task.done() for task in other):
        before = len(passed)
        await turns(1)
        assert len(passed) - before <= 8
    assert passed.count("a") <= 10
    await asyncio.gather(*many)


async def test_it_rests_when_nobody_comes() -> None:
    limiter = PerTurn(2)
    _, tasks = await crowd(limiter, 10)
    await asyncio.gather(*tasks)
    await turns(3)
    assert not limiter._turning


async def test_another_owner_waits_for_one_turn_and_not_for_the_crowd() -> None:
    limiter = PerTurn(2)
    passed, tasks = await crowd(limiter, 50)
    other = asyncio.create_task(limiter.wait(B))
    await turns(3)
    assert other.done()
    assert len(passed) < 10
    await asyncio.gather(*tasks)
    assert passed == list(range(50))


async def test_an_owner_that_has_had_nothing_of_a_turn_need_not_wait_for_those_who_have_used_it_up() -> None:
    limiter = PerTurn(2, spare=2)
    _, tasks = await crowd(limiter, 50)
    for _ in range(3):
        assert [limiter.take(owner) for owner in (A, B, B, C, D)] == [False, True, False, True, False]
        await turns(1)
    assert limiter.waiting > 30
    await asyncio.gather(*tasks)


async def test_an_owner_never_overtakes_what_waits_of_its_own() -> None:
    limiter, called = PerTurn(2, spare=1), list[str]()
    for owner in (A, A, A, B, B):
        limiter.call(owner, partial(called.append, str(owner)))
    assert called == ["a", "a", "b"]
    await turns(1)
    assert called == ["a", "a", "b", "a", "b"]
    for number in range(6):
        limiter.call(B, partial(called.append, f"b{number}"))
    while limiter.waiting:
        limiter.take(A, 10)
        limiter.call(B, partial(called.append, "last"))
        await turns(1)
    assert [name for name in called if name.startswith("b")][2:] == [f"b{number}" for number in range(6)]
    assert "last" not in called[: called.index("b5")]


async def test_none_overtakes_where_that_is_not_wanted() -> None:
    limiter = PerTurn(1, spare=0)
    assert [limiter.take(owner) for owner in (A, B)] == [True, False]


async def test_calls_are_carried_out_a_few_in_each_turn_and_in_order() -> None:
    limiter, called = PerTurn(3), list[int]()
    for number in range(8):
        limiter.call(A, partial(called.append, number))
    counts = []
    while len(called) < 8:
        counts.append(len(called))
        await turns(1)
    assert (counts, called) == ([3, 6], [*range(8)])


async def test_what_is_called_while_others_wait_comes_after_them() -> None:
    limiter, called = PerTurn(2), list[int]()
    for number in range(3):
        limiter.call(A, partial(called.append, number))
    await turns(1)
    for number in range(3, 6):
        limiter.call(A, partial(called.append, number))
    await turns(5)
    assert called == [*range(6)]


async def test_calls_of_owners_take_turns() -> None:
    limiter, called = PerTurn(2), list[str]()
    for owner in [A] * 20 + [B] * 2:
        limiter.call(owner, partial(called.append, owner))
    await turns(3)
    assert "b" in called[:4]
    await turns(12)
    assert (called.count("a"), called.count("b")) == (20, 2)


async def test_a_call_that_raises_is_reported_and_the_others_are_carried_out() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    limiter, called = PerTurn(1, what="a test failed"), list[int]()
    for _ in range(2):
        limiter.call(A, [].pop)
    limiter.call(A, partial(called.append, 1))
    await turns(5)
    assert called == [1]
    assert [report["message"] for report in reports] == ["a test failed"] * 2


async def test_what_is_spent_is_there_again_in_the_next_turn() -> None:
    limiter = PerTurn(10)
    limiter.spend(4)
    assert limiter.left == 6
    limiter.spend(40)
    assert limiter.left == -34
    await turns(1)
    assert limiter.left == 10


async def test_one_that_has_waited_and_comes_again_at_once_finds_what_is_left_beside_its_turn() -> None:
    loop: Any = asyncio.get_running_loop()
    limiter, at = PerTurn(4), Counter[int]()

    async def come(times: int) -> None:
        for _ in range(times):
            await limiter.wait(A)
            at[loop.turns] += 1

    await asyncio.gather(*(come(1) for _ in range(4)), come(20))
    assert max(at.values()) <= 4
