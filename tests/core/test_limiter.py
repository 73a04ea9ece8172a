"""A limiter lets a burst through, then keeps its rate, whatever the arrivals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.limiter import RateLimiter


def test_a_burst_is_admitted_at_once_and_the_rest_at_the_rate() -> None:
    limiter = RateLimiter(rate=2, burst=3)
    assert [limiter.admit(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.admit(100.5) == 0


def test_a_refusal_costs_nothing() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    limiter.admit(0.0)
    assert [limiter.admit(0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert limiter.admit(1.0) == 0


def test_idle_time_never_saves_up_more_than_the_burst() -> None:
    limiter = RateLimiter(rate=10, burst=2)
    limiter.admit(0.0)
    assert [limiter.admit(3600.0) > 0 for _ in range(3)] == [False, False, True]


@given(gaps=st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_no_window_ever_admits_more_than_the_burst_plus_the_rate(gaps: list[float]) -> None:
    limiter, now, admitted = RateLimiter(rate=7, burst=5), 0.0, []
    for gap in gaps:
        now += gap
        if limiter.admit(now) == 0:
            admitted.append(now)
    for i, first in enumerate(admitted):
        for count, last in enumerate(admitted[i:], start=1):
            assert count <= 5 + 7 * (last - first) + 1e-6


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_refuses_a_limiter_that_could_never_admit(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match=r"^rate must be above 0 and burst at least 1$"):
        RateLimiter(rate, burst)
