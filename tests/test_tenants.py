"""The bench of tenants: its rows are attacks that exist, and its verdicts follow from what was seen."""

from pathlib import Path

import pytest

from bench.tenants.alone import Alone
from bench.tenants.attacks import ATTACKS
from bench.tenants.command import TABLE
from bench.tenants.rows import BY_NAME, ROWS
from bench.tenants.seen import Seen
from bench.tenants.verdict import Times, grows, judge

DOCUMENT = Path(__file__).parents[1] / "docs" / "tenants.md"


def test_every_row_is_an_attack_and_every_attack_a_row() -> None:
    assert list(BY_NAME) == [row.name for row in ROWS]
    assert set(BY_NAME) == set(ATTACKS)


def test_every_row_of_the_document_is_of_an_attack_and_whole() -> None:
    for name, cells in TABLE.rows_of(DOCUMENT.read_text()).items():
        assert name in {f"{row.kind} {row.name}" for row in ROWS}
        assert len(cells) == len(TABLE.heads)


def test_rows_come_in_the_order_of_the_attacks() -> None:
    rows = [[f"{row.kind} {row.name}", *["x"] * (len(TABLE.heads) - 1)] for row in ROWS]
    document = TABLE.written(DOCUMENT.read_text(), rows[::-1], "here")
    assert list(TABLE.rows_of(document)) == [row[0] for row in rows]


def seen(wrong: int = 0, **took: list[float]) -> Seen:
    return Seen.of({"took": took, "wrong": {"x": wrong} if wrong else {}, "serials": []})


def fetches(p99: float | None) -> Times:
    return {} if p99 is None else {"fetch": (1.0, p99)}


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        (seen(fetch=[10.0] * 99 + [19.9]), True),
        (seen(fetch=[10.0] * 98 + [20.0, 20.1]), True),
        (seen(fetch=[10.0] * 98 + [20.1, 20.1]), False),
        (seen(wrong=1, fetch=[1.0] * 100), False),
        (seen(fetch=[1.0] * 100, publish=[1000.0]), True),
        (seen(publish=[1.0]), False),
        (seen(), False),
    ],
    ids=[
        "less",
        "the slowest of a hundred does not count",
        "more",
        "wrong",
        "another",
        "none came",
        "nothing came",
    ],
)
def test_all_is_as_before_once_nothing_is_wrong_and_each_p99_near_what_it_was(now: Seen, holds: bool) -> None:
    assert now.as_before(fetches(10.0)) is holds


def test_what_was_seen_in_several_periods_counts_as_one() -> None:
    joined = Seen.joined([seen(fetch=[3.0] * 50, wrong=1), seen(fetch=[1.0] * 50, publish=[2.0], wrong=2)])
    assert joined.summary() == {"fetch": (1.0, 3.0), "publish": (2.0, 2.0)}
    assert joined.wrong == {"x": 3}


def usual_of_rows(*p99s: float) -> list[float]:
    """Have the p99 of each period be the next of these; return what each row takes for usual."""
    left = list(p99s)
    alone, usual = Alone(), list[float]()
    while left:
        usual.append(alone.usual(lambda: fetches(left.pop(0)))["fetch"][1])
    return usual


@pytest.mark.parametrize(
    ("p99s", "usual"),
    [
        ([10.0, 12.0, 11.0, 13.0, 14.0], [11.0, 12.0, 13.0]),
        ([170.0, 10.0, 11.0, 12.0, 13.0], [11.0, 11.0, 12.0]),
        ([10.0, 170.0, 11.0, 12.0], [11.0]),
        ([10.0, 11.0, 12.0, 170.0, 150.0, 13.0], [11.0, 12.0]),
        ([10.0, 11.0, 12.0, 21.5, 21.5], [11.0, 12.0, 21.5]),
        ([10.0, 11.0, 12.0, *[30.0] * 4, *[31.0] * 4], [11.0, 12.0, 30.0]),
    ],
    ids=[
        "the median of this row and the two before",
        "one disturbed period of the first row",
        "measured again in the first row",
        "measured again in a later row",
        "what would be in its bound counts",
        "a machine that has become slower",
    ],
)
def test_a_disturbed_period_alone_does_not_count(p99s: list[float], usual: list[float]) -> None:
    assert usual_of_rows(*p99s) == usual


def test_what_came_in_some_periods_alone_is_the_median_of_those() -> None:
    periods = iter([fetches(10.0), {"publish": (1.0, 2.0)}, {**fetches(12.0), "publish": (3.0, 4.0)}])
    assert Alone().usual(lambda: next(periods)) == {"fetch": (1.0, 11.0), "publish": (2.0, 3.0)}


@pytest.mark.parametrize(
    ("attacked", "control", "moment", "over", "machine"),
    [
        (20.0, 10.0, False, 0, 0),
        (20.1, 10.0, False, 1, 0),
        (20.1, 16.0, False, 1, 0),
        (20.1, 17.0, False, 0, 1),
        (260.0, 10.0, True, 0, 0),
        (260.1, 10.0, True, 1, 0),
        (None, 10.0, False, 1, 0),
        (20.1, None, False, 1, 0),
    ],
    ids=["in its bound", "over", "far over the control", "as the control", "a moment", "too long a moment", "none came",
         "no control"],
)  # fmt: skip
def test_what_is_over_its_bound_is_the_machines_where_it_is_so_at_another_service(
    attacked: float | None, control: float | None, moment: bool, over: int, machine: int
) -> None:
    verdict = judge(fetches(10.0), fetches(attacked), fetches(control), moment=moment)
    assert (len(verdict.over), len(verdict.machine)) == (over, machine)


def test_a_verdict_has_all_three_figures_in_words() -> None:
    [text] = judge(fetches(10.0), fetches(1061.04), fetches(18.2), moment=False).over
    assert text == "fetch p99 1061 ms: 10 ms alone, 18.2 ms with the attacker at another service"


@pytest.mark.parametrize(
    ("kept", "holds"),
    [([50.0, 58.0], False), ([50.0, 58.1], True), ([50.0, 70.0, 70.0], False), ([50.0, 60.0, 70.0], True)],
    ids=["noise", "more", "the same as after the second", "each time more"],
)
def test_memory_grows_where_more_is_in_use_after_the_last_attack(kept: list[float], holds: bool) -> None:
    assert grows(kept) is holds
