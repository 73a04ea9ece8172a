"""Counts by upper bound, as Prometheus reads them."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from service.core.histogram import Histogram


def test_a_value_is_counted_in_every_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 7):
        histogram.observe(value)
    assert histogram.cumulative() == [(1, 2), (2, 4), (inf, 5)]
    assert histogram.sum == 12


def test_a_value_can_count_many_times() -> None:
    histogram = Histogram((1,))
    histogram.observe(0.5, 10)
    assert (histogram.cumulative(), histogram.sum) == ([(1, 10), (inf, 10)], 5)


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9), unique=True).map(sorted))
def test_many_values_count_as_each_would_alone(values: list[int], bounds: list[int]) -> None:
    alone, together = Histogram(bounds), Histogram(bounds)
    for value in values:
        alone.observe(value)
    together.observe_all(values[:3])
    together.observe_all(values[3:])
    assert (together.counts, together.sum) == (alone.counts, alone.sum)


def test_values_between_two_are_shared_out_among_the_bounds() -> None:
    histogram = Histogram((1, 2, 4))
    histogram.observe_between(0.5, 4.5, 8)
    assert histogram.counts == [1, 2, 4, 1]
    assert histogram.sum == 20
    histogram.observe_between(1.5, 1.5, 3)
    assert histogram.counts == [1, 5, 4, 1]


@given(
    st.floats(0, 20),
    st.floats(0, 20),
    st.integers(0, 10_000),
    st.lists(st.floats(0.01, 20), unique=True).map(sorted),
)
def test_none_of_them_is_lost_or_counted_backwards(
    low: float, more: float, count: int, bounds: list[float]
) -> None:
    histogram = Histogram(bounds)
    histogram.observe_between(low, low + more, count)
    assert sum(histogram.counts) == count
    assert min(histogram.counts) >= 0


def test_times_count_by_how_long_ago_they_are() -> None:
    histogram = Histogram((1, 2))
    histogram.observe_since([7.0, 8.5, 9.5], 10.0, 2)
    histogram.observe_since([9.5, 9.6], 10.0, 3)
    assert histogram.counts == [8, 2, 2]
    assert round(histogram.sum, 9) == 2 * 5 + 3 * 0.9
