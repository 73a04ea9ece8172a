"""What a process has counted, reported in increments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report import RunReport
from loadtest.tally import Tally, rounded


def test_increments_add_up_to_the_whole() -> None:
    tally, report = Tally(), RunReport("x", "")
    recorder = tally.recorder("delivery")
    for second in range(3):
        tally.count("delivered", 10)
        tally.error("refused")
        tally.checks["lost"] += 2
        tally.places.append(("lost", "t", 5, 6, 1))
        recorder[rounded(0.001 * (second + 1))] += 10
        report.add(tally.flush())
        assert tally.flush()["counters"] == {}
    assert report.counters["delivered"] == 30
    assert report.errors == {"refused": 3}
    assert report.checks["lost"] == 6
    assert report.pop_places() == {("lost", "t", 5, 6): 3}
    assert report.latency("delivery").count == 30


def test_warm_up_is_left_out() -> None:
    tally = Tally()
    tally.measured_from = 10.0
    tally.latency("x", 9.99, 12.0)
    tally.latency("x", 10.0, 12.0)
    report = RunReport("x", "")
    report.add(tally.flush())
    assert report.latency("x").count == 1


def test_kinds_of_errors_are_bounded() -> None:
    tally = Tally()
    for number in range(1000):
        tally.error(f"error {number}")
    assert len(tally.errors) == 101
    assert tally.errors["other"] == 900


@given(seconds=st.floats(0.0, 599.0))
def test_rounding_keeps_three_digits(seconds: float) -> None:
    assert rounded(seconds) / 1e6 == pytest.approx(seconds, rel=0.006, abs=1.1e-6)
