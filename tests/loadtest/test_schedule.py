"""Intended start times: as many as the rate says, in order, within the duration."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.schedule import constant, poisson, ramp, steps


def test_constant_is_even() -> None:
    assert list(constant(4.0, 1.0)) == [0.0, 0.25, 0.5, 0.75]
    assert list(constant(0.0, 5.0)) == []


@given(first=st.floats(0.0, 100.0), last=st.floats(0.0, 100.0), duration=st.floats(0.5, 20.0))
def test_a_ramp_has_the_area_under_its_rate(first: float, last: float, duration: float) -> None:
    times = list(ramp(first, last, duration))
    assert abs(len(times) - (first + last) / 2 * duration) <= 1.01
    assert times == sorted(times)
    assert all(0 <= at < duration for at in times)


def test_a_rising_ramp_speeds_up() -> None:
    times = list(ramp(0.0, 100.0, 10.0))
    assert sum(at < 5 for at in times) == pytest.approx(125, abs=1)


def test_steps_follow_each_other() -> None:
    assert list(steps([1.0, 2.0], 2.0)) == [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]


def test_poisson_has_its_mean_and_its_spread() -> None:
    times = list(poisson(100.0, 100.0, random.Random(1).random))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)
