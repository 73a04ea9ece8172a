"""A bucket lets a burst through, then keeps its rate, for any arrivals."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.access.rate_limits import spend


class Bucket:
    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self.idle_at = 0.0

    def admit(self, now: float, count: float = 1) -> float:
        wait, self.idle_at = spend(self.idle_at, now, count, rate=self.rate, burst=self.burst)
        return wait


def test_a_burst_is_admitted_at_once_and_the_rest_at_the_rate() -> None:
    bucket = Bucket(rate=2, burst=3)
    assert [bucket.admit(100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.admit(100.5) == 0


def test_a_refusal_costs_nothing() -> None:
    bucket = Bucket(rate=1, burst=1)
    bucket.admit(0.0)
    assert [bucket.admit(0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert bucket.admit(1.0) == 0


def test_idle_time_never_saves_up_more_than_the_burst() -> None:
    bucket = Bucket(rate=10, burst=2)
    bucket.admit(0.0)
    assert [bucket.admit(3600.0) > 0 for _ in range(3)] == [False, False, True]


def test_more_than_a_burst_passes_when_nothing_came_before_and_is_paid_for() -> None:
    bucket = Bucket(rate=10, burst=5)
    assert bucket.admit(0.0, 20) == 0
    assert bucket.admit(0.0) == 1.6
    assert bucket.admit(1.6) == 0


@given(gaps=st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_no_window_ever_admits_more_than_the_burst_plus_the_rate(gaps: list[float]) -> None:
    bucket, now, admitted = Bucket(rate=7, burst=5), 0.0, []
    for gap in gaps:
        now += gap
        if bucket.admit(now) == 0:
            admitted.append(now)
    for i, first in enumerate(admitted):
        for count, last in enumerate(admitted[i:], start=1):
            assert count <= 5 + 7 * (last - first) + 1e-6


@given(gaps=st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_a_bucket_that_is_free_again_may_be_forgotten(gaps: list[float]) -> None:
    kept, forgotten, now = Bucket(rate=7, burst=5), Bucket(rate=7, burst=5), 0.0
    for gap in gaps:
        now += gap
        if forgotten.idle_at <= now:
            forgotten.idle_at = 0.0
        assert kept.admit(now) == forgotten.admit(now)
