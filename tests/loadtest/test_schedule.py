"""Intended start times: as many as the rate says, in order, within the duration."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.schedule import Schedule, constant, dealt, parse_rate, ramp, steps

RATES = st.floats(0.0, 100.0)


def test_constant_is_even() -> None:
    assert list(constant(4.0, 1.0).even()) == [0.0, 0.25, 0.5, 0.75]
    assert list(constant(0.0, 5.0).even()) == []


@pytest.mark.parametrize("duration", [0.1, 1.0, 3.0, 7.3, 60.0])
@pytest.mark.parametrize("rate", [0.5, 3.0, 10.0, 99.0, 1e6])
def test_constant_has_no_more_and_no_less(rate: float, duration: float) -> None:
    if rate * duration > 1e6:
        return
    schedule = constant(rate, duration)
    assert len(list(schedule.even())) == schedule.count == -(-round(rate * duration * 1e6) // 10**6)


@given(first=RATES, last=RATES, duration=st.floats(0.5, 20.0))
def test_a_ramp_has_the_area_under_its_rate(first: float, last: float, duration: float) -> None:
    schedule = ramp(first, last, duration)
    times = list(schedule.even())
    assert len(times) == schedule.count
    assert abs(len(times) - (first + last) / 2 * duration) <= 1.01
    assert times == sorted(times)
    assert all(0 <= at <= duration for at in times)


@given(first=RATES, last=RATES, duration=st.floats(0.5, 20.0))
def test_the_nth_of_a_ramp_comes_where_the_area_is_n(first: float, last: float, duration: float) -> None:
    for number, at in enumerate(ramp(first, last, duration).even()):
        area = first * at + (last - first) / duration * at * at / 2
        assert area == pytest.approx(number, rel=1e-6, abs=1e-6)


def test_steps_follow_each_other() -> None:
    assert list(steps([1.0, 2.0], 4.0).even()) == [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]


def test_a_step_of_nothing_is_a_pause() -> None:
    assert list(steps([2.0, 0.0, 2.0], 3.0).even()) == [0.0, 0.5, 2.0, 2.5]


def test_poisson_has_its_mean_and_its_spread() -> None:
    times = list(constant(100.0, 100.0).poisson(random.Random(1).random))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)


def test_poisson_follows_a_ramp() -> None:
    times = list(ramp(0.0, 200.0, 100.0).poisson(random.Random(1).random))
    assert sum(at < 50 for at in times) == pytest.approx(2500, rel=0.1)
    assert len(times) == pytest.approx(10_000, rel=0.05)


@given(shares=st.integers(1, 7), schedule=st.builds(ramp, RATES, RATES, st.floats(0.5, 3.0)))
def test_all_shares_together_are_the_whole_once(shares: int, schedule: Schedule) -> None:
    parts = [pair for index in range(shares) for pair in dealt(schedule.even(), index, shares)]
    assert sorted(parts) == list(enumerate(schedule.even()))


@pytest.mark.parametrize(
    ("text", "stages"),
    [("100", [(100, 100, 6)]), ("10..200", [(10, 200, 6)]), ("1,2.5,0", [(1, 1, 2), (2.5, 2.5, 2), (0, 0, 2)])],
)
def test_rates_are_read(text: str, stages: list[tuple[float, float, float]]) -> None:
    assert [(one.first, one.last, one.seconds) for one in parse_rate(text, 6.0).stages] == stages


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1..", "1..2..3", "1,", "1 2", "1e9", "inf", "nan", "0", "0,0", "٣"]
)
def test_a_wrong_rate_shows_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"ramp|above 0"):
        parse_rate(text, 1.0)
