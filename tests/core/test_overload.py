"""Levels from figures: when each is entered and left, and that nothing swings."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.overload import CALM, Level, LoadSample, Overload, Rule, heaviest, rules

NORMAL, SLOW, REFUSE, SHED = Level
RULE = Rule("memory", (80.0, 90.0, 95.0), (75.0, 85.0, 90.0))
LIMITS = {"lag": 2.0, "memory": 1000 << 20, "sockets": 100 << 20, "descriptors": 1000.0}


def run(overload: Overload, values: list[float], begin: float = 0.0) -> list[Level]:
    """Look once a second, and return each level."""
    return [overload.update(LoadSample(memory=value), begin + second) for second, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 79.9, 80, 89.9, 90, 95], [NORMAL, NORMAL, SLOW, SLOW, REFUSE, SHED]),
        ([99], [SHED]),
        ([95, 94, 91, 90, 95], [SHED] * 5),
        # Five seconds below, and one step.
        ([95, 89, 89, 89, 89, 89, 89], [SHED] * 6 + [REFUSE]),
        ([95, 89, 89, 89, 90, 89, 89, 89, 89, 89, 89], [SHED] * 10 + [REFUSE]),
        ([95] + [0] * 19, [SHED] * 6 + [REFUSE] * 6 + [SLOW] * 6 + [NORMAL] * 2),
        ([80] + [0] * 4 + [80] + [0] * 6, [SLOW] * 11 + [NORMAL]),
    ],
)
def test_levels_are_entered_at_once_and_left_by_and_by(values: list[float], levels: list[Level]) -> None:
    assert run(Overload([RULE]), values) == levels


def test_what_has_to_last_is_not_entered_before() -> None:
    overload = Overload([replace(RULE, hold=3.0)])
    assert run(overload, [90, 90, 90, 0, 90, 90, 90]) == [NORMAL] * 7
    assert run(overload, [90, 80, 80, 80], begin=7.0) == [REFUSE, REFUSE, REFUSE, REFUSE]
    assert run(Overload([replace(RULE, hold=3.0)]), [80, 80, 90, 90, 90, 90]) == [NORMAL] * 3 + [SLOW] * 2 + [
        REFUSE
    ]


@pytest.mark.parametrize(
    ("figures", "level", "why"),
    [
        (LoadSample(), NORMAL, ""),
        (LoadSample(lag=0.4, memory=799 << 20, sockets=59 << 20, descriptors=939), NORMAL, ""),
        (LoadSample(lag=0.5), SLOW, "lag 0.5 of 0.5"),
        (LoadSample(lag=2.0), REFUSE, "lag 2 of 2"),
        (LoadSample(lag=1e9), REFUSE, "lag"),
        (LoadSample(memory=800 << 20), SLOW, "memory 800 MiB of 800 MiB"),
        (LoadSample(memory=900 << 20), REFUSE, "memory"),
        (LoadSample(memory=951 << 20), SHED, "memory"),
        (LoadSample(sockets=60 << 20), SLOW, "sockets"),
        (LoadSample(sockets=75 << 20), REFUSE, "sockets"),
        (LoadSample(sockets=90 << 20), SHED, "sockets"),
        (LoadSample(descriptors=940), SLOW, "descriptors 940 of 940"),
        (LoadSample(descriptors=960), REFUSE, "descriptors"),
        (LoadSample(descriptors=980), SHED, "descriptors"),
        (LoadSample(memory=800 << 20, descriptors=960, lag=2.0), REFUSE, "lag 2 of 2, descriptors 960 of 960"),
    ],
)
def test_every_figure_has_its_thresholds_and_the_worst_counts(figures: LoadSample, level: Level, why: str) -> None:
    overload = Overload(rules(**LIMITS))
    for second in range(11):
        overload.update(figures, float(second))
    assert overload.level is level
    assert overload.why.startswith(why)
    assert bool(overload.why) == (level > NORMAL)


def test_a_storm_of_a_few_seconds_is_not_overload() -> None:
    overload = Overload(rules(**LIMITS))
    assert [overload.update(LoadSample(lag=5.0), float(second)) for second in range(10)] == [NORMAL] * 10
    assert overload.update(LoadSample(), 10.0) is NORMAL


@pytest.mark.parametrize("figure", ["lag", "memory", "sockets", "descriptors"])
def test_a_limit_of_0_is_none(figure: str) -> None:
    overload = Overload(rules(**{**LIMITS, figure: 0}))
    for second in range(20):
        assert overload.update(LoadSample(**{figure: 1e15}), float(second)) is NORMAL


def test_without_rules_there_is_no_overload() -> None:
    assert Overload([]).update(LoadSample(lag=inf), 0.0) is NORMAL


@given(before=st.lists(st.floats(0, 120), max_size=20), then=st.floats(0, 120))
def test_a_figure_that_stands_still_has_the_level_move_one_way_and_come_to_rest(
    before: list[float], then: float
) -> None:
    overload = Overload([RULE])
    run(overload, before)
    levels = run(overload, [then] * 30, begin=len(before))
    assert levels in (sorted(levels), sorted(levels, reverse=True))
    assert len(set(levels[20:])) == 1


@given(values=st.lists(st.floats(0, 120), min_size=1, max_size=60))
def test_no_level_is_left_before_its_calm_nor_kept_after_it(values: list[float]) -> None:
    overload, low = Overload([RULE]), 0
    level = NORMAL
    for second, value in enumerate(values):
        before, level = level, overload.update(LoadSample(memory=value), float(second))
        due = Level(sum(value >= threshold for threshold in RULE.enter))
        assert level >= due
        if level < before:
            assert level == before - 1
            assert low >= CALM
        low = low + 1 if before and value < RULE.leave[before - 1] and level == before else 0
    assert len(run(overload, [0.0] * 24, begin=len(values))) == 24
    assert overload.level is NORMAL


def test_a_tenth_is_shed_and_of_a_few_one() -> None:
    assert heaviest(range(25), lambda number: number) == [24, 23, 22]
    assert heaviest([3], lambda number: number) == [3]
    assert heaviest([], lambda number: number) == []
