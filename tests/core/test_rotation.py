"""Turns by cost: who costs more has fewer, and one alone has no debts."""

from collections import Counter
from dataclasses import dataclass

from service.core.rotation import Rotation


@dataclass
class Member:
    name: str
    credit: int = 0


def served(rotation: Rotation[Member], turns: int, **costs: int) -> str:
    order = ""
    for _ in range(turns):
        member = rotation.first
        order += member.name
        rotation.spend(costs[member.name])
    return order


def rotation_of(*names: str, quantum: int = 2) -> tuple[Rotation[Member], list[Member]]:
    rotation: Rotation[Member] = Rotation(quantum)
    members = [Member(name) for name in names]
    for member in members:
        rotation.enter(member)
    return rotation, members


def test_those_who_cost_the_same_take_turns() -> None:
    rotation, _ = rotation_of("a", "b", "c")
    assert served(rotation, 7, a=2, b=2, c=2) == "abcabca"


def test_one_who_costs_twice_as_much_comes_half_as_often() -> None:
    rotation, _ = rotation_of("a", "b")
    counts = Counter(served(rotation, 300, a=4, b=2))
    assert counts == {"a": 100, "b": 200}


def test_what_is_charged_later_is_sat_out() -> None:
    rotation, [a, _] = rotation_of("a", "b")
    rotation.spend(2)
    a.credit -= 6
    assert served(rotation, 6, a=2, b=2) == "bbbbab"


def test_one_alone_has_no_debts() -> None:
    rotation, [a] = rotation_of("a")
    a.credit = -(10**9)
    assert served(rotation, 3, a=2) == "aaa"
    rotation.enter(Member("b"))
    assert served(rotation, 4, a=2, b=2) == "abab"


def test_what_is_left_of_a_turn_is_lost_and_a_debt_is_not() -> None:
    rotation, [a, b] = rotation_of("a", "b", quantum=10)
    rotation.spend(1)
    rotation.leave()
    assert a.credit == 0
    assert rotation.first is b
    b.credit = -15
    rotation.enter(a)
    assert rotation.first is a
    assert len(rotation) == 2
