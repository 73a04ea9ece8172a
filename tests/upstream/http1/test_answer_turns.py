"""Who goes on with an answer in which turn of the loop."""

import asyncio
from itertools import pairwise

import pytest

from service.core.owner import Owner
from service.upstream.http1.answer_turns import _EACH, AnswerTurns
from service.upstream.http1.errors import ServerDisconnected
from service.upstream.http1.head import Head, parse_head

LONG, NEW = Owner("long"), Owner("new")
HEAD = parse_head(b"HTTP/1.1 200 OK\r\n\r\n")


def contended() -> AnswerTurns:
    answers = AnswerTurns()
    answers.contended = lambda: True
    return answers


def futures(count: int) -> list["asyncio.Future[Head]"]:
    return [asyncio.get_running_loop().create_future() for _ in range(count)]


async def test_answers_of_owners_that_give_way_go_on_one_in_a_turn_and_those_of_others_at_once() -> None:
    answers = contended()
    answers.gives_way = LONG.__eq__
    long, new = futures(10), futures(10)
    for waiters, owner in ((long, LONG), (new, NEW)):
        for waiter in waiters:
            answers.wake(owner, waiter, HEAD)
    assert all(waiter.done() for waiter in new)
    counts = []
    while not all(waiter.done() for waiter in long):
        counts.append(sum(waiter.done() for waiter in long))
        await asyncio.sleep(0)
    assert counts == [*range(1, 10)]
    assert all(waiter.result() is HEAD for waiter in long)


async def test_a_hundred_that_come_together_go_on_some_in_each_turn_and_clients_take_turns() -> None:
    answers, many, one = contended(), futures(100), futures(1)
    for waiter in many:
        answers.wake(LONG, waiter, HEAD)
    answers.wake(NEW, one[0], HEAD)
    counts = [sum(waiter.done() for waiter in many)]
    while counts[-1] < 100:
        await asyncio.sleep(0)
        counts.append(sum(waiter.done() for waiter in many))
        assert one[0].done(), "it waits for one turn, however many the other's are"
    assert counts[0] == _EACH
    assert max(after - before for before, after in pairwise(counts)) <= _EACH


async def test_all_of_one_client_that_fetches_alone_go_on_at_once() -> None:
    answers, waiters = AnswerTurns(), futures(100)
    for waiter in waiters:
        answers.wake(LONG, waiter, HEAD)
    assert all(waiter.done() for waiter in waiters)


async def test_who_waits_no_longer_is_left_alone_and_errors_take_turns_too() -> None:
    answers = contended()
    answers.gives_way = LONG.__eq__
    waiters = futures(4)
    for waiter in waiters[:3]:
        answers.wake(LONG, waiter, HEAD)
    answers.wake(LONG, waiters[3], ServerDisconnected(silent=True))
    waiters[2].cancel()
    await asyncio.sleep(0)
    assert waiters[2].cancelled()
    with pytest.raises(ServerDisconnected):
        await waiters[3]
