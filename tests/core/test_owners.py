"""Owners in the plan: pauses, charges, and whether there is more than one."""

from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

A = Owner("a")


def test_an_owner_that_is_paused_starts_nothing_until_it_is_resumed_and_others_go_on() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(3, 3), name="a", owner="a"))
    planned.add(batch_of(hosts(3, 3), name="b", owner="b"))
    owners = planned.plan.owners
    assert owners.contended
    owners.pause(A)
    assert owners.is_paused(A)
    assert {task.group.owner for task in planned.start()} == {"b"}
    planned.plan.resume(A)
    assert not owners.is_paused(A)
    assert [task.group.owner for task in planned.start()] == ["a"] * 3


def test_the_pause_of_an_owner_that_is_gone_ends_as_well() -> None:
    planned = Planned()
    batch = batch_of(hosts(1), owner="a")
    planned.add(batch)
    planned.plan.owners.pause(A)
    planned.plan.remove(batch)
    planned.plan.resume(A)
    assert not planned.plan.owners.is_paused(A)


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
    assert repr(Planned().plan.owners) == "<Owners 0 of 500, 0 held back>"
