"""Lines of owners that wait for places: who may not have one is skipped, and keeps the first turn."""

import random
from collections import defaultdict, deque

import pytest

from service.core.owner_lines import OwnerLines


def filled(**items: int) -> OwnerLines[str, str]:
    lines: OwnerLines[str, str] = OwnerLines()
    for owner, count in items.items():
        for number in range(count):
            lines.put(owner, f"{owner}{number}")
    return lines


def test_owners_take_turns_and_each_gets_its_oldest() -> None:
    lines = filled(a=3, b=1, c=2)
    assert repr(lines) == "<OwnerLines 6 waiting, of 3 owners>"
    taken = [lines.take(lambda _: True) for _ in range(6)]
    assert taken == [("a", "a0"), ("b", "b0"), ("c", "c0"), ("a", "a1"), ("c", "c1"), ("a", "a2")]
    assert not lines
    assert lines.take(lambda _: True) is None


def test_who_may_not_have_a_place_is_skipped_and_keeps_the_next_turn() -> None:
    lines = filled(a=2, b=2)
    assert lines.take("b".__eq__) == ("b", "b0")
    assert lines.take("c".__eq__) is None
    assert lines.take(lambda _: True) == ("a", "a0")
    assert lines.take(lambda _: True) == ("b", "b1")


def test_one_that_waits_no_longer_is_removed_and_its_owner_with_the_last() -> None:
    lines = filled(a=2, b=1)
    lines.discard("a", "a0")
    lines.discard("a", "gone")
    lines.discard("nobody", "a1")
    assert ("a" in lines, lines.owners, [*lines]) == (True, 2, ["a1", "b0"])
    lines.discard("a", "a1")
    assert ("a" in lines, lines.owners, len(lines)) == (False, 1, 1)


@pytest.mark.parametrize("seed", range(10))
def test_at_random_it_is_as_a_list_of_lines(seed: int) -> None:
    chance, lines = random.Random(seed), OwnerLines[str, int]()
    order: list[str] = []
    kept: defaultdict[str, deque[int]] = defaultdict(deque)
    for number in range(300):
        owner = chance.choice("abcd")
        if chance.random() < 0.5:
            lines.put(owner, number)
            kept[owner].append(number)
            order += [owner] if owner not in order else []
            continue
        may = set(chance.sample("abcd", chance.randint(0, 4)))
        expected = next((one for one in order if one in may), None)
        taken = lines.take(may.__contains__)
        if expected is None:
            assert taken is None
            continue
        assert taken == (expected, kept[expected].popleft())
        order.remove(expected)
        order += [expected] if kept[expected] else []
    assert sorted(lines) == sorted(item for line in kept.values() for item in line)
