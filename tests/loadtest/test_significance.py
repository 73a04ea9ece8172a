"""Chance and how much of it: what is called different without reason is so in at most 5 of 100 comparisons."""

import random
from typing import Any

import pytest

from loadtest.compare import compared
from loadtest.significance import fewest_rounds, holm, likely, ranked


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert ranked([10, 30, 10, 20]) == (1.5, 4.0, 1.5, 3.0)


def test_many_equal_rounds_do_not_differ() -> None:
    assert likely([1.0] * 40, [1.0] * 40) == 1.0
    # Ties make the spread of the rank sum smaller than it would be without them.
    assert likely([1.0] * 20 + [2.0] * 10, [1.0] * 10 + [2.0] * 20) == pytest.approx(0.01071, rel=0.01)


def test_holm_has_the_values_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], [1, 2, 3, 4]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.01, 0.04], ["a", "a", "b"]) == pytest.approx([0.02, 0.02, 0.04])
    assert holm([], []) == []


def test_more_questions_need_more_rounds() -> None:
    assert [fewest_rounds(questions, 0.05) for questions in (1, 2, 16, 28)] == [4, 5, 6, 7]


def noisy(chance: random.Random, rounds: int) -> dict[str, Any]:
    """Return a report of rounds that differ by chance alone: five latencies with four percentiles each."""

    def one() -> dict[str, Any]:
        return {name: {"p50": (base := chance.lognormvariate(2, 0.3)), "p90": base * chance.uniform(1, 2),
                       "p99": base * chance.uniform(2, 6), "max": base * chance.uniform(5, 20), "count": 10}
                for name in ("connect", "delivery", "publish", "spread", "tcp")}  # fmt: skip

    measured = [{"latency_ms": one(), "counters": {}} for _ in range(rounds)]
    return {"latency_ms": measured[0]["latency_ms"], "checks": {}, "rounds": measured}


@pytest.mark.parametrize(("rounds", "times"), [(6, 200), (32, 200)])
def test_identical_runs_are_called_worse_in_at_most_5_percent(rounds: int, times: int) -> None:
    chance = random.Random(rounds)
    corrected = plain = 0
    for _ in range(times):
        before, after = noisy(chance, rounds), noisy(chance, rounds)
        corrected += any(row.verdict == "worse" for row in compared(before, after, 0.0))
        plain += any(likely(*pair) < 0.05 for pair in pairs(before, after))
    assert corrected / times <= 0.05
    # Without a correction it would be far more, so the simulation can tell.
    assert plain / times > 0.3


def pairs(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[list[float], list[float]]]:
    places = [(name, part) for name in before["latency_ms"] for part in ("p50", "p90", "p99", "max")]
    return [
        tuple([one["latency_ms"][name][part] for one in report["rounds"]] for report in (before, after))  # type: ignore[misc]
        for name, part in places
    ]
