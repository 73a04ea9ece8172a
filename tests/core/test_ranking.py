"""The ranking of owners, held against a table that is looked through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.owner import Owner
from service.core.ranking import Ranking


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 1 << 40)), max_size=60))
def test_nobody_holds_twice_what_the_top_holds(steps: list[tuple[str, int]]) -> None:
    ranking, held = Ranking(), dict.fromkeys("abcd", 0)
    for name, now in steps:
        ranking.move(Owner(name), held[name], now)
        held[name] = now
        if any(held.values()):
            assert max(held.values()) < 2 * held[ranking.top()]
    assert repr(ranking) == f"<Ranking {sum(map(bool, held.values()))} owners>"


def test_nobody_is_at_the_top_of_nothing() -> None:
    ranking = Ranking()
    ranking.move(Owner("a"), 0, 5)
    ranking.move(Owner("a"), 5, 0)
    with pytest.raises(StopIteration):
        ranking.top()
