"""Two reports side by side: noise does not count as a difference, and a difference is shown."""

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from loadtest.command import main
from loadtest.compare import compared, different_options
from loadtest.significance import likely


def report(rounds: list[float], lost: int = 0) -> dict[str, Any]:
    def summary(ms: float) -> dict[str, Any]:
        return {"delivery": {"p50": ms, "p90": ms, "p99": ms, "p999": ms, "max": ms, "count": 10}}

    return {
        "scenario": "broadcast",
        "latency_ms": summary(rounds[0]),
        "checks": {"lost": lost},
        "rounds": [{"latency_ms": summary(ms), "counters": {}} for ms in rounds] if len(rounds) > 1 else [],
    }


def verdict(before: list[float], after: list[float]) -> str:
    return compared(report(before), report(after), 0.05)[0].verdict


def test_clear_differences_are_said_in_their_direction() -> None:
    assert verdict([10, 11, 10, 12], [20, 21, 22, 20]) == "worse"
    assert verdict([20, 21, 22, 20], [10, 11, 10, 12]) == "better"


def test_noise_and_trifles_are_none() -> None:
    assert verdict([10, 20, 11, 19], [12, 18, 21, 9]) == "no difference beyond the noise"
    assert verdict([10.0, 10.1, 10.05, 10.02], [10.3, 10.31, 10.32, 10.33]) == "within 5%"


def test_few_rounds_tell_nothing() -> None:
    assert verdict([10, 11, 12], [90, 91, 92]).startswith("cannot tell: 3 rounds")
    assert verdict([10], [90]).startswith("cannot tell: 1 rounds")


@pytest.mark.parametrize(("now", "said"), [(0, "better"), (1, "same"), (2, "worse")])
def test_a_lost_message_is_never_noise(now: int, said: str) -> None:
    rows = compared(report([10], lost=1), report([10], lost=now), 0.05)
    assert rows[-1].verdict == said


def test_the_exact_test_has_the_values_of_the_tables() -> None:
    # All of one side below all of the other: 2 ways of C(8, 4) = 70, of C(10, 5) = 252.
    assert likely([1, 2, 3, 4], [5, 6, 7, 8]) == pytest.approx(2 / 70)
    assert likely([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert likely([1, 1, 1, 1], [1, 1, 1, 1]) == 1.0


def test_the_same_machine_is_called_different_no_more_often_than_promised() -> None:
    chance = random.Random(1)
    alarms = sum(
        likely([chance.gauss(10, 2) for _ in range(5)], [chance.gauss(10, 2) for _ in range(5)]) < 0.05
        for _ in range(500)
    )
    assert alarms / 500 < 0.07


def test_many_rounds_are_approximated() -> None:
    assert likely(list(range(30)), [value + 0.5 for value in range(30)]) > 0.5
    assert likely(list(range(30)), [value + 40 for value in range(30)]) < 1e-6


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = tmp_path / "good", tmp_path / "bad", tmp_path / "none"
    good.write_bytes(orjson.dumps(report([10, 11, 10, 12])))
    bad.write_bytes(orjson.dumps(report([20, 21, 22, 20])))
    none.write_text("[]")
    assert main(["compare", str(good), str(good)]) == 0
    assert main(["compare", str(good), str(bad)]) == 99
    assert "worse" in capsys.readouterr().out
    assert main(["compare", str(good), str(none)]) == 2
    assert main(["compare", str(good), str(tmp_path / "nowhere")]) == 2
    assert "--json FILE" in capsys.readouterr().err


def full(**more: Any) -> dict[str, Any]:
    one = {"status": "passed", "counters": {"intended": 100, "made": 100, "connected": 10, "held": 10}, "errors": {},
           "options": {"rate": "10"}}  # fmt: skip
    return {**report([10, 11, 10, 12]), **one, **more}


@pytest.mark.parametrize(
    ("after", "figure", "said"),
    [
        ({"latency_ms": {}, "rounds": []}, "delivery", "worse: not measured any more"),
        ({"status": "failed"}, "status", "worse: failed"),
        ({"counters": {"intended": 100, "made": 50, "connected": 10, "held": 10}}, "made/intended", "worse"),
        ({"counters": {"intended": 100, "made": 100, "connected": 10, "held": 5}}, "held/connected", "worse"),
        ({"errors": {"refused": 1}}, "error: refused", "worse: a new error"),
    ],
)
def test_what_has_gone_and_what_has_come_is_worse(after: dict[str, Any], figure: str, said: str) -> None:
    rows = {row.figure: row.verdict for row in compared(full(), full(**after), 0.05)}
    assert rows[figure] == said
    assert not any(row.verdict.startswith("worse") for row in compared(full(), full(), 0.05))


def test_errors_that_there_were_before_are_worse_beyond_chance() -> None:
    def said(before: int, after: int) -> str:
        rows = compared(full(errors={"x": before}), full(errors={"x": after}), 0.05)
        return next(row.verdict for row in rows if row.figure == "error: x")

    assert [said(1, 3), said(10, 40), said(40, 10)] == ["same", "worse", "better"]


def test_what_differs_in_how_the_load_was_made_is_named() -> None:
    other = full(scenario="echo", options={"rate": "20", "topics": 2, "cert": "x"})
    assert list(different_options(full(), other)) == [
        "these are different scenarios: broadcast and echo", "--rate was 10 and is 20", "--topics was None and is 2",
    ]  # fmt: skip


def test_one_figure_needs_fewer_rounds_than_all() -> None:
    def various(ms: list[float]) -> dict[str, Any]:
        made = report(ms)
        for place, one in enumerate(made["rounds"]):
            one["latency_ms"]["delivery"]["p90"] = (7, 3, 5, 1)[place]
        return made

    before, after = various([10, 11, 10, 12]), various([20, 21, 22, 20])
    assert compared(before, after, 0.05)[0].verdict == "no difference beyond the noise"
    (row,) = compared(before, after, 0.05, ["delivery_p50_ms"])[:1]
    assert row.verdict == "worse"
    with pytest.raises(ValueError, match="delivery_p99_ms"):
        compared(before, after, 0.05, ["nothing"])


@pytest.mark.parametrize(
    ("before", "after", "figure", "said"),
    [
        ({"status": "failed"}, {"status": "could not run"}, "status", "worse: could not run"),
        ({"counters": {"capacity": 1000}}, {"counters": {"capacity": 500}}, "capacity", "worse"),
        ({"counters": {"capacity": 1000}}, {"counters": {"capacity": 950}}, "capacity", "same"),
        ({"counters": {}}, {"counters": {"misrouted": 1}}, "misrouted", "worse"),
        ({"counters": {"unanswered": 10}}, {"counters": {"unanswered": 100}}, "unanswered", "worse"),
    ],
)
def test_what_goes_wrong_more_often_is_worse(
    before: dict[str, Any], after: dict[str, Any], figure: str, said: str
) -> None:
    rows = {row.figure: row.verdict for row in compared(full(**before), full(**after), 0.05)}
    assert rows[figure] == said


def equal_rounds(chance: random.Random, rounds: int) -> dict[str, Any]:
    """Return the report of a server that is as it always is: each round is as good as the machine's mood."""

    def latency(mood: float) -> dict[str, float]:
        middle = 20 * mood * chance.lognormvariate(0, 0.1)
        p90, p99 = (middle * factor * chance.lognormvariate(0, 0.2) for factor in (2, 4))
        return {
            "p50": middle,
            "p90": p90,
            "p99": p99,
            "p999": p99,
            "max": p99 * chance.lognormvariate(1, 0.5),
            "count": 9,
        }

    made = [chance.lognormvariate(0, 0.3) for _ in range(rounds)]
    some = [{"latency_ms": {"delivery": latency(mood)}, "counters": {}} for mood in made]
    return {**report([1.0]), "latency_ms": some[0]["latency_ms"], "rounds": some}


def test_of_a_thousand_comparisons_of_equal_runs_at_most_five_of_a_hundred_call_anything_worse() -> None:
    chance = random.Random(18)
    worse = 0
    for number in range(1_000):
        one, other = (equal_rounds(chance, 4 + number % 3) for _ in range(2))
        worse += any(row.verdict.startswith("worse") for row in compared(one, other, 0.05))
    print(f"{worse} of 1,000 comparisons of equal runs called something worse")
    assert 0 < worse <= 50


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"latency_ms": {"delivery": {}}}, "missing required field `p50`"),
        ({"latency_ms": {"delivery": {"p50": None}}}, "Expected `float`, got `null`"),
        ({"checks": [1]}, "Expected `object`, got `array`"),
        ({"rounds": [{"latency_ms": {"delivery": {}}}]}, "rounds"),
        ({"errors": {"x": "y"}}, "Expected `int`, got `str`"),
        ({"options": 3}, "Expected `object`, got `int`"),
    ],
)
def test_a_report_that_is_damaged_is_refused_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: dict[str, Any], said: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(orjson.dumps(full()))
    bad.write_bytes(orjson.dumps({**full(), **broken}))
    for arguments in (("compare", good, bad), ("compare", bad, good), ("merge", bad, good)):
        assert main(list(map(str, arguments))) == 2
        assert said in capsys.readouterr().err
