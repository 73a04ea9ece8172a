"""Counts by upper bound, as Prometheus reads them."""

from math import inf

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
