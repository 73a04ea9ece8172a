"""The figures that thresholds may name, and what a percentile of few samples is worth."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.command import SCENARIOS
from loadtest.histogram import Histogram
from loadtest.judging import broken_bound, judged, load_not_made
from loadtest.measures import Measures, needed_samples, percent_of
from loadtest.report import RunReport
from loadtest.thresholds import parse_threshold
from loadtest.verdict import FAILED, PASSED, Verdict

MEASURES = Measures(("published",), ("delivery",), checks=True)


@pytest.mark.parametrize(
    "figure",
    ["published", "lost", "errors", "delivery_p95_ms", "delivery_p99.9_ms", "delivery_p999_ms", "delivery_mean_ms",
     "delivery_count", "connect_max_ms", "published_per_s", "server_rss_mib_max", "load_s"],
)  # fmt: skip
def test_known_figures(figure: str) -> None:
    assert MEASURES.wrong_with("x", figure) is None


@pytest.mark.parametrize(
    ("figure", "near"),
    [("delivery_p99", "delivery_p99_ms"), ("publishd", "published"), ("delivery_p0_ms", "delivery_p99_ms"), ("losst", "lost"),
     ("delivery_p101.5_ms", "delivery_p99_ms")],
)  # fmt: skip
def test_an_unknown_figure_is_answered_with_the_nearest_and_all(figure: str, near: str) -> None:
    wrong = MEASURES.wrong_with("x", figure)
    assert wrong is not None
    assert f"did you mean {near}?" in wrong
    assert "lost, gapped, repeated, reordered" in wrong


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"mixed"}))
def test_a_scenario_without_messages_has_no_checks(name: str) -> None:
    knows = SCENARIOS[name].MEASURES.wrong_with(name, "lost") is None
    assert knows == (name in ("broadcast", "resume", "slow-readers", "watch"))


@pytest.mark.parametrize(
    ("part", "percent", "samples"),
    [("p50", 50, 2), ("p95", 95, 20), ("p99", 99, 100), ("p99.9", 99.9, 1000), ("p999", 99.9, 1000), ("p9999", 99.99, 10_000),
     ("p100", 100, 1), ("p90", 90, 10), ("p5", 5, 2), ("p0.5", 0.5, 2), ("p950", 95, 20), ("p100.0", 100, 1),
     ("p99.999999", 99.999999, 100_000_000)],
)  # fmt: skip
def test_percentiles_and_the_samples_that_carry_them(part: str, percent: float, samples: int) -> None:
    assert percent_of(part) == percent
    assert needed_samples(percent) == samples


@pytest.mark.parametrize(
    "part", ["p0", "p00", "p099", "p1000", "p101", "p", "p.5", "p1.2.3", "q9", "p\uff19\uff19"]
)
def test_invalid_percentiles_are_refused(part: str) -> None:
    assert percent_of(part) is None


@given(
    values=st.lists(st.integers(1, 999), min_size=1, max_size=80),
    percent=st.sampled_from([1, 50, 90, 95, 99, 99.9, 100]),
)
def test_a_percentile_is_of_the_nearest_rank_rounded_up(values: list[int], percent: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    rank = max(1, math.ceil(round(percent * len(values) / 100, 9)))
    assert histogram.percentile(percent) == pytest.approx(sorted(values)[rank - 1], rel=0.002)


def test_one_of_sixty_is_the_99th_percentile_and_marked() -> None:
    histogram = Histogram()
    histogram.record(1.0, 59)
    histogram.record(1000.0)
    assert histogram.percentile(99) == pytest.approx(1000, rel=0.002)
    assert (histogram.too_few_for("p99"), histogram.too_few_for("p95"), histogram.too_few_for("max")) == (100, 0, 0)
    assert histogram.part("mean") == pytest.approx(17.65, rel=0.01)
    assert histogram.part("min") == pytest.approx(1.0, rel=0.01)


def report(**counters: float) -> RunReport:
    made = RunReport("x", "")
    made.counters = {**MEASURES.zeros(), "intended": 100, "started": 100, "made": 100, **counters}
    return made


def fails(made: RunReport, *texts: str) -> list[str]:
    return [one.threshold for one in judged(made, [], list(map(parse_threshold, texts))) if not one.passed]


def test_what_was_not_measured_holds_nothing() -> None:
    assert fails(report(), "lost==0", "delivery_p99_ms<5", "errors/published<1%", "errors==0") == [
        "lost==0", "delivery_p99_ms<5", "errors/published<1%",
    ]  # fmt: skip
    assert fails(report(delivered=1), "lost==0") == []


@pytest.mark.parametrize(
    ("counters", "failed"),
    [
        ({}, []),
        ({"made": 99}, []),
        ({"made": 98}, ["made/intended>=0.99"]),
        ({"intended": 0, "made": 0}, ["made/intended>=0.99"]),
        ({"unanswered": 1}, ["unanswered==0"]),
        ({"clients_intended": 10, "clients_ready": 9}, ["clients_ready/clients_intended>=0.99"]),
        ({"connected": 10, "dropped": 1}, ["dropped/connected<=0.01"]),
        ({"part0_intended": 10, "part0_made": 5}, ["part0_made/part0_intended>=0.99"]),
    ],
)
def test_every_run_has_to_make_its_load(counters: dict[str, float], failed: list[str]) -> None:
    assert fails(report(**counters)) == failed
    assert bool(load_not_made(report(**counters))) == (counters.get("made") == 98)


def test_a_threshold_of_ones_own_takes_the_place_of_an_implied_one() -> None:
    assert fails(report(made=50, unanswered=3), "made/intended>40%", "unanswered<5") == []


def test_ratios_and_rates() -> None:
    made = report(published=200)
    made.errors["x"] = 1
    made.gauges["load_s"] = 4.0
    assert fails(made, "errors/published<=0.5%", "published_per_s==50", "errors/published<0.4%") == [
        "errors/published<0.4%"
    ]


def test_a_bad_round_is_not_hidden_by_good_ones() -> None:
    rounds = [report(), report(), report()]
    for number, one in enumerate(rounds):
        one.latency("delivery").record(500 if number == 0 else 1, 100 if number == 0 else 100_000)
    whole = report()
    for one in rounds:
        whole.latency("delivery").add(one.latencies["delivery"])
    (judgement,) = judged(whole, rounds, [parse_threshold("delivery_p99_ms<10")])[:1]
    assert (judgement.passed, judgement.note) == (False, "round 1")


def test_a_bound_is_broken_for_good_only_upwards() -> None:
    made = report(published=5)
    assert broken_bound(made, [parse_threshold("published<5")]) == "published<5: 5"
    assert broken_bound(made, [parse_threshold("published>9")]) is None
    assert broken_bound(made, [parse_threshold("delivery_p99_ms<5")]) is None
    assert (
        broken_bound(made, [parse_threshold("delivery_p99_ms<5")], ended=True) == "delivery_p99_ms<5: not measured"
    )


def test_a_verdict_has_one_exit_code() -> None:
    assert Verdict(PASSED).exit_code == 0
    assert Verdict(FAILED, ("a", "b", "c", "d")).text == "failed: a; b; c; and 1 more"
