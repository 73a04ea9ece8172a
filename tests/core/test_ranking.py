"""The ranking of owners, held against a table that is looked through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.owner import Owner
from service.core.ranking import OwnerRanking

OWNERS = tuple(map(Owner, "abcd"))


@given(st.lists(st.tuples(st.sampled_from(OWNERS), st.integers(0, 1 << 40), st.booleans()), max_size=60))
def test_nobody_holds_twice_what_the_top_holds(steps: list[tuple[Owner, int, bool]]) -> None:
    held: dict[Owner, int] = {}
    ranking = OwnerRanking(held.__getitem__)
    for owner, now, asked in steps:
        if now:
            held[owner] = now
            ranking.changed[owner] = None
        else:
            held.pop(owner, None)
            ranking.forget(owner)
        if held and asked:
            assert max(held.values()) < 2 * held[ranking.top()]
            assert repr(ranking) == f"<OwnerRanking {len(held)} owners, 0 changed>"


def test_of_those_alike_the_first_stays_at_the_top() -> None:
    held = dict.fromkeys(OWNERS, 5)
    ranking = OwnerRanking(held.__getitem__)
    ranking.changed.update(dict.fromkeys(OWNERS))
    assert ranking.top() == "a"
    held[OWNERS[0]] = 7
    ranking.changed[OWNERS[0]] = None
    assert ranking.top() == "a"


def test_nobody_is_at_the_top_of_nothing_and_nothing_is_kept_of_those_that_went() -> None:
    held = {OWNERS[0]: 5}
    ranking = OwnerRanking(held.__getitem__)
    ranking.changed[OWNERS[0]] = None
    assert ranking.top() == "a"
    ranking.changed[OWNERS[0]] = None
    ranking.forget(OWNERS[0])
    assert repr(ranking) == "<OwnerRanking 0 owners, 0 changed>"
    with pytest.raises(StopIteration):
        ranking.top()
