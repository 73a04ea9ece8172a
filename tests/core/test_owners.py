"""Owners in the plan: pauses, charges, and whether there is more than one."""

from collections import Counter
from dataclasses import replace

import pytest

from service.core.fetching.batch import Batch, BatchLimits
from service.core.fetching.owners import Owners
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

A = Owner("a")


def test_an_owner_that_is_paused_starts_nothing_until_it_is_resumed_and_others_go_on() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(3, 3), name="a", owner="a"))
    planned.add(batch_of(hosts(3, 3), name="b", owner="b"))
    owners = planned.plan.owners
    assert owners.contended
    owners.shares.pause(A)
    assert owners.shares.is_paused(A)
    assert {task.group.owner for task in planned.start()} == {"b"}
    planned.plan.resume(A)
    assert not owners.shares.is_paused(A)
    assert [task.group.owner for task in planned.start()] == ["a"] * 3


def test_the_pause_of_an_owner_that_is_gone_ends_as_well() -> None:
    planned = Planned()
    batch = batch_of(hosts(1), owner="a")
    planned.add(batch)
    planned.plan.shares.pause(A)
    planned.plan.remove(batch)
    planned.plan.resume(A)
    assert not planned.plan.shares.is_paused(A)


def test_an_owner_that_was_charged_has_its_turn_later() -> None:
    order = []
    for charged in (False, True):
        planned = Planned()
        for name in "ab":
            planned.add(batch_of(hosts(40, 40), name=name, owner=name))
        if charged:
            planned.plan.owners.charge(A, 50)
        planned.plan.owners.charge(Owner("nobody"), 50)
        order.append([str(task.group.owner) for task in planned.start(most=30)].count("a"))
    assert order[1] < order[0]


def test_it_shows_how_much_is_in_use() -> None:
    assert repr(Planned().plan.owners) == "<Owners 0, 0 in turn, <Shares 0 of 500, 0 held back>>"


def wide(name: str, count: int) -> Batch:
    """Return URLs that wait for no host."""
    return batch_of(
        [f"http://h{number}.{name}/" for number in range(count)], name=name, owner=name, concurrency=500
    )


def land(planned: Planned, tasks: list[FetchTask]) -> None:
    for task in tasks:
        planned.plan.free(task)
        planned.plan.landed(task)
        planned.plan.admitted.end(task.group, task.index)


def starts(planned: Planned, most: int) -> Counter[str]:
    """Start so many at once, and have all of them land."""
    started = planned.start(most=most)
    land(planned, started)
    return Counter(str(task.group.owner) for task in started)


def test_a_newcomer_has_four_turns_beside_one_that_has_fetched_for_long_until_it_has_too() -> None:
    planned = Planned()
    planned.add(wide("long", 2000))
    assert starts(planned, 199) == {"long": 199}
    planned.add(wide("new", 500))
    assert starts(planned, 1) == {"long": 1}, "the last of a newcomer"
    assert starts(planned, 50) == {"new": 40, "long": 10}
    assert starts(planned, 50) == {"new": 40, "long": 10}
    assert starts(planned, 150) == {"new": 120, "long": 30}
    assert starts(planned, 50) == {"new": 25, "long": 25}


def test_newcomers_among_themselves_have_the_same_turns_and_so_have_those_that_are_none() -> None:
    planned = Planned()
    for name in "abc":
        planned.add(wide(name, 400))
    for _ in range(25):
        assert starts(planned, 30) == {"a": 10, "b": 10, "c": 10}


def test_an_owner_that_had_nothing_to_fetch_is_a_newcomer_again() -> None:
    planned = Planned()
    owners, first = planned.plan.owners, wide("a", 300)
    planned.add(wide("b", 600))
    planned.add(first)
    starts(planned, 500)
    assert (owners.favour(A), owners.favour(Owner("b"))) == (1, 1)
    assert not owners.gives_way(Owner("b"))
    planned.plan.remove(first)
    planned.add(wide("a", 300))
    assert (owners.favour(A), owners.favour(Owner("b"))) == (4, 1)
    assert owners.favour(Owner("nobody")) == 1
    assert [owners.gives_way(Owner(name)) for name in ("a", "b", "nobody")] == [False, True, False]


def test_a_newcomer_that_was_there_is_expected_again_for_128_urls_of_the_others() -> None:
    planned = Planned()
    owners, first = planned.plan.owners, wide("new", 50)
    long = wide("long", 600)
    planned.add(long)
    starts(planned, 300)
    assert (owners.contended, owners.gives_way(Owner("long"))) == (False, False)
    planned.add(first)
    starts(planned, 40)
    planned.plan.remove(first)
    assert "new" not in owners.states
    begun = 0
    while owners.gives_way(Owner("long")):
        assert owners.contended
        begun += starts(planned, 1)["long"]
    assert (begun, owners.contended) == (128, False)


def test_nobody_is_expected_who_has_fetched_for_long_or_nothing_at_all() -> None:
    planned = Planned()
    owners = planned.plan.owners
    planned.add(wide("long", 600))
    starts(planned, 300)
    for count in (0, 250):
        other = wide("other", 300)
        planned.add(other)
        if count:
            starts(planned, 500)
        planned.plan.remove(other)
        assert not owners.contended
        assert not owners.gives_way(Owner("long"))


def test_who_spends_little_of_what_the_heaviest_does_stays_a_newcomer() -> None:
    planned = Planned()
    owners, long, light = planned.plan.owners, Owner("long"), Owner("light")
    planned.add(wide("long", 10_000))
    planned.add(wide("light", 10_000))
    for _ in range(100):
        starts(planned, 10)
        owners.spend(long, 200)
        owners.spend(Owner("gone"), 200)
    assert (owners.favour(long), owners.favour(light)) == (1, 4)
    assert (owners.gives_way(long), owners.gives_way(light)) == (True, False)
    for _ in range(60):
        starts(planned, 100)
    assert {owners.favour(owner) for owner in (long, light)} == {1}, "what was spent long ago does not count"


@pytest.mark.parametrize(("spends", "favour"), [(10, 4), (24, 4), (60, 1), (100, 1)])
def test_less_than_a_quarter_of_what_the_heaviest_spends_is_little_at_any_time(spends: int, favour: int) -> None:
    planned = Planned()
    owners, heavy, other = planned.plan.owners, Owner("heavy"), Owner("other")
    planned.add(wide("heavy", 10_000))
    planned.add(wide("other", 10_000))
    seen = set()
    for number in range(200):
        owners.spend(heavy, 100)
        owners.spend(other, spends)
        if number >= 50:
            seen.add((owners.favour(heavy), owners.favour(other)))
    assert seen == {(1, favour)}


def test_who_has_hundreds_of_groups_that_wait_is_not_a_newcomer() -> None:
    planned = Planned()
    owners = planned.plan.owners
    planned.add(wide("b", 400))
    planned.start(most=300)
    for number in range(400):
        assert owners.gives_way(Owner("b")) is (number > 0)
        assert owners.favour(A) == (4 if number else 1)
        planned.add(batch_of([f"http://h{number}.a/"], name=f"a{number}", owner="a"))
    assert not owners.gives_way(Owner("b"))
    assert owners.favour(A) == 1


def test_when_all_are_gone_the_next_are_newcomers_as_usual() -> None:
    planned = Planned()
    owners, long = planned.plan.owners, wide("long", 600)
    planned.add(long)
    starts(planned, 50)
    owners.spend(Owner("long"), 20_000)
    planned.plan.remove(long)
    for name in ("long", "new"):
        planned.add(wide(name, 600))
    owners.spend(Owner("long"), 199)
    assert not owners.gives_way(Owner("long"))
    owners.spend(Owner("long"), 1)
    assert owners.gives_way(Owner("long"))


def test_places_that_are_handed_on_count_as_well() -> None:
    planned = Planned()
    planned.add(batch_of([f"http://h.example/{number}" for number in range(300)], owner="a", concurrency=1))
    [task] = planned.start()
    handed = 0
    for _ in range(250):
        turn = planned.plan.successor(task, 0.0)
        planned.plan.landed(task)
        following = planned.plan.hand_on(turn, task, 0.0) if turn is not None else None
        handed += following is not None
        if following is None:
            planned.plan.free(task)
            [following] = planned.start()
        task = following
    planned.add(wide("b", 1))
    assert handed > 200
    assert (planned.plan.owners.favour(A), planned.plan.owners.favour(Owner("b"))) == (1, 4)


def held_back(owners: Owners, *, weight: float = 1.0) -> None:
    """Have all five places used: three by one owner, one each by two that are held back."""
    for name, count in ((Owner("x", weight), 1), (Owner("y"), 1), (Owner("z"), 3)):
        state = owners.add(replace(batch_of(hosts(9), name=str(name)), owner=name))
        for _ in range(count):
            owners.shares.acquire(state)
        if count == 1:
            owners.shares.hold_back(state)


def test_a_place_goes_past_an_owner_that_is_held_back_still() -> None:
    owners = Owners(5, 5)
    held_back(owners, weight=0.001)
    owners.shares.release(owners.states[Owner("z")])
    assert [owners.shares.pop_held_back(), owners.shares.pop_held_back()] == [owners.states[Owner("y")], None]


def test_an_owner_that_was_held_back_and_is_gone_takes_no_place() -> None:
    owners = Owners(5, 5)
    held_back(owners)
    state = owners.states[Owner("x")]
    owners.shares.release(state)
    owners.remove(owners.backlogs["x"].group)
    owners.forget_unused(state)
    assert [owners.shares.pop_held_back(), owners.shares.pop_held_back()] == [owners.states[Owner("y")], None]


def test_an_owner_that_has_nothing_to_start_leaves_the_place_to_the_next() -> None:
    planned = Planned(replace(BatchLimits(), active=12, active_per_host=99, active_per_client=12))
    full = batch_of(hosts(20), name="x", owner="x", concurrency=9)
    planned.add(full)
    assert len(planned.start()) == 9
    planned.add(batch_of(hosts(1), name="z", owner="z"))
    [last] = planned.start()
    planned.add(replace(batch_of(hosts(9), name="y"), owner=Owner("y", 0.2)))
    assert len(planned.start()) == 1, "it has its share"
    planned.plan.wake(full)
    assert planned.start() == []
    assert [*planned.plan.owners.shares.held_back] == ["y", "x"]
    planned.plan.owners.shares.held_back.move_to_end(Owner("y"))
    planned.plan.free(last)
    planned.plan.landed(last)
    assert [task.group.owner for task in planned.start()] == ["y"]


def test_an_owner_that_waits_for_nothing_any_more_leaves_the_place_to_the_next() -> None:
    planned = Planned(replace(BatchLimits(), active=12, active_per_host=99, active_per_client=12))
    planned.add(batch_of(hosts(9), name="x", owner="x"))
    assert len(planned.start()) == 9
    planned.add(batch_of(hosts(1), name="z", owner="z"))
    [last] = planned.start()
    planned.add(replace(batch_of(hosts(9), name="y"), owner=Owner("y", 0.2)))
    assert len(planned.start()) == 1, "it has its share"
    owners = planned.plan.owners
    owners.shares.hold_back(owners.states[Owner("x")])
    owners.shares.held_back.move_to_end(Owner("y"))
    planned.plan.free(last)
    planned.plan.landed(last)
    assert [task.group.owner for task in planned.start()] == ["y"]
