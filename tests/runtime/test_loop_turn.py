"""Turns of a loop: what is bounded in each does less together while they are long, and one thing each at least."""

import asyncio
import gc
import random
import weakref
from collections import Counter
from functools import partial
from typing import Any

import pytest

from service.core.owner import Owner
from service.runtime.per_turn import LoopTurn, PerTurn, loop_turn

A, B = Owner("a"), Owner("b")
_LENGTH = 0.001


class Work:
    """Work of several kinds, each thing of which takes some time of the loop's turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lengths: list[float] = []
        self.done: list[tuple[int, int, str, int]] = []
        """What was done: in which turn, of which kind, for whom, and which one of theirs."""
        self.turn = 0
        self.shares: list[float] = []
        self.loop_turn = loop_turn()
        self.loop_turn._clock = lambda: self.now

    def ask(self, limiter: PerTurn, count: int, seconds: float, *, kind: int = 0, owner: Owner = A) -> None:
        """Ask for things of a kind that take so long each."""
        for number in range(count):
            limiter.call(owner, partial(self.do, kind, owner, number, seconds))

    def do(self, kind: int, owner: Owner, number: int, seconds: float) -> None:
        self.now += seconds
        self.done.append((self.turn, kind, owner, number))

    async def take_turns(self, count: int) -> None:
        for _ in range(count):
            before = self.now
            self.turn += 1
            await asyncio.sleep(0)
            self.lengths.append(self.now - before)
            self.shares.append(self.loop_turn.share)

    def of_turn(self, turn: int) -> Counter[int]:
        """Return how many things of each kind were done in a turn."""
        return Counter(kind for at, kind, _, _ in self.done if at == turn)


async def test_kinds_that_make_a_turn_long_together_do_less_each() -> None:
    work = Work()
    kinds = [PerTurn(16) for _ in range(5)]
    for kind, limiter in enumerate(kinds):
        work.ask(limiter, 400, 0.0001, kind=kind)
    await work.take_turns(12)
    assert max(work.lengths) <= 1.6 * _LENGTH
    assert min(work.lengths) >= 0.4 * _LENGTH, "no less than there is time for"


async def test_kinds_that_take_short_turns_do_all_they_may() -> None:
    work = Work()
    limiter = PerTurn(4)
    work.ask(limiter, 80, 0.0001)
    await work.take_turns(10)
    assert {work.of_turn(turn)[0] for turn in range(1, 11)} == {4}
    assert set(work.shares) == {1.0}


async def test_each_kind_does_one_thing_in_each_turn_however_long_turns_are() -> None:
    work = Work()
    limiters = PerTurn(4), PerTurn(8), PerTurn(8 << 10)
    for number in range(60):
        limiters[0].call(A, partial(work.do, 0, A, number, 0.5))
        limiters[1].call(A, partial(work.do, 1, A, number, 0.001))
        limiters[2].call(A, partial(work.do, 2, A, number, 0.0001), cost=4000)
    await work.take_turns(20)
    for turn in range(3, 20):
        assert work.of_turn(turn) == {0: 1, 1: 1, 2: 1}


async def test_tasks_that_wait_pass_one_by_one_where_turns_are_long() -> None:
    work = Work()
    limiter = PerTurn(8)

    async def one(number: int) -> None:
        await limiter.wait(A)
        work.do(0, A, number, 0.01)

    tasks = [asyncio.create_task(one(number)) for number in range(40)]
    await work.take_turns(8)
    for turn in range(5, 8):
        assert work.of_turn(turn)[0] == 1
    assert [number for _, _, _, number in work.done] == [*range(len(work.done))]
    await work.take_turns(60)
    await asyncio.gather(*tasks)


async def test_a_long_turn_is_soon_forgotten() -> None:
    work = Work()
    limiter = PerTurn(8)
    limiter.call(A, partial(work.do, 0, A, 0, 0.0001))
    for number in range(1, 200):
        limiter.call(A, partial(work.do, 0, A, number, 0.02 if number == 8 else 0.0001))
    await work.take_turns(12)
    assert min(work.shares) == pytest.approx(_LENGTH / 0.0207, rel=0.1)
    assert work.shares[-1] == 1.0


async def test_after_a_rest_all_is_as_before() -> None:
    work = Work()
    limiter = PerTurn(4)
    work.ask(limiter, 10, 0.05)
    await work.take_turns(15)
    assert len(work.done) == 10
    assert work.loop_turn.share == 1.0
    work.now += 60
    work.ask(limiter, 10, 0.0)
    await work.take_turns(2)
    assert work.shares[-2:] == [1.0, 1.0], "the time between them is not a turn's"
    assert repr(loop_turn()).startswith("<LoopTurn with 100%")


async def test_a_kind_that_comes_while_turns_are_long_begins_with_the_share_of_the_others() -> None:
    work = Work()
    first, second = PerTurn(8), PerTurn(8)
    work.ask(first, 100, 0.001)
    await work.take_turns(6)
    work.ask(second, 100, 0.001, kind=1, owner=B)
    await work.take_turns(4)
    assert work.of_turn(work.turn) == {0: 1, 1: 1}


async def test_a_kind_of_work_that_fails_stops_no_other_and_goes_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    work, reports = Work(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["message"]))
    broken, other = PerTurn(1), PerTurn(1)
    work.ask(broken, 5, 0.0)
    work.ask(other, 5, 0.0, kind=1)
    with monkeypatch.context() as patch:
        patch.setattr(broken, "_waiting", None)
        await work.take_turns(2)
        assert len(reports) == 2
        assert work.of_turn(2) == {1: 1}
    await work.take_turns(4)
    assert [number for _, kind, _, number in work.done if kind == 0] == [*range(5)]


async def _loop_turn() -> LoopTurn:
    return loop_turn()


def test_each_loop_has_turns_of_its_own_which_go_with_it() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    turns = [loop.run_until_complete(_loop_turn()) for loop in loops]
    assert [loop.run_until_complete(_loop_turn()) for loop in loops] == turns
    assert turns[0] is not turns[1]
    turns.clear()
    gone = [weakref.ref(loop) for loop in loops]
    while loops:
        loops.pop().close()
    gc.collect()
    assert [loop() for loop in gone] == [None, None]


@pytest.mark.parametrize("seed", range(20))
async def test_at_random_each_owner_keeps_its_order_and_its_turns(seed: int) -> None:
    """Kinds, owners, and times at random: all is done, in order, and nobody waits for another's backlog."""
    chance = random.Random(seed)
    work = Work()
    kinds = [PerTurn(chance.choice([1, 2, 4, 32])) for _ in range(chance.randint(1, 6))]
    owners = [Owner(name) for name in "abcdef"[: chance.randint(2, 6)]]
    asked: Counter[tuple[int, Owner]] = Counter()
    done: Counter[tuple[int, Owner]] = Counter()

    def ask(kind: int, owner: Owner) -> None:
        number, ahead, since = asked[kind, owner], asked[kind, owner] - done[kind, owner], work.turn
        asked[kind, owner] += 1
        seconds = chance.choice([0.0, 0.0001, 0.002])

        def act() -> None:
            work.do(kind, owner, number, seconds)
            assert done[kind, owner] == number, "an owner's are done in their order"
            done[kind, owner] += 1
            assert work.turn - since <= len(owners) * (ahead + 1), "it waited for what is others'"

        kinds[kind].call(owner, act)

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    for _ in range(60):
        for _ in range(chance.choice([0, 0, 1, 30])):
            # The first of them wants nearly all.
            ask(chance.randrange(len(kinds)), owners[0] if chance.random() < 0.9 else chance.choice(owners))
        waited = {kind for kind, limiter in enumerate(kinds) if limiter.waiting}
        await work.take_turns(1)
        assert waited <= set(work.of_turn(work.turn)), "of each kind that waits something is done"
    await work.take_turns(asked.total() + 2)
    assert not reports
    assert done == asked
    assert loop_turn().share == 1.0
