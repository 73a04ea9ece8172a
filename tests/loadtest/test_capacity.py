"""The search for the largest load that holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity import Search


def found(search: Search, limit: float) -> list[float]:
    tried = []
    while (load := search.next()) is not None:
        tried.append(load)
        search.record(load, load <= limit)
        assert len(tried) < 60
    return tried


@given(low=st.floats(1, 100), factor=st.floats(1, 500), limit=st.floats(0.5, 1e5))
def test_it_ends_within_the_precision_of_the_limit(low: float, factor: float, limit: float) -> None:
    search = Search(low, low * factor, 0.1)
    tried = found(search, limit)
    if limit < low:
        assert search.best == 0
        assert tried == [low]
    elif limit >= search.high:
        assert search.best == search.high
    else:
        assert search.best <= limit < search.best * 1.1 * (1 + 1e-9)
    assert len(set(tried)) == len(tried)


def test_clients_are_whole() -> None:
    search = Search(1, 1000, 0.01, whole=True)
    tried = found(search, 37)
    assert search.best == 37
    assert all(load == int(load) for load in tried)


def test_it_doubles_and_then_halves_the_ratio() -> None:
    assert found(Search(10, 1000, 0.2), 100) == pytest.approx([10, 20, 40, 80, 160, 113.1, 95.1], rel=0.001)
