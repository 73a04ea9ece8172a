"""The bench of tenants: its rows are attacks that exist, and its verdicts follow from what was seen."""

from pathlib import Path

import pytest

from bench.tenants.attacks import ATTACKS
from bench.tenants.command import TABLE
from bench.tenants.rows import BY_NAME, ROWS
from bench.tenants.seen import Seen

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


@pytest.mark.parametrize(
    ("during", "holds"),
    [
        (seen(fetch=[10.0] * 99 + [19.9]), True),
        (seen(fetch=[10.0] * 98 + [20.0, 20.1]), True),
        (seen(fetch=[10.0] * 98 + [20.1, 20.1]), False),
        (seen(fetch=[1.0] * 100, publish=[1000.0]), True),
        (seen(publish=[1.0]), False),
        (seen(), False),
    ],
    ids=["less", "the slowest of a hundred does not count", "more", "another", "none came", "nothing came"],
)
def test_a_p99_may_be_so_many_times_what_it_was(during: Seen, holds: bool) -> None:
    assert during.within(seen(fetch=[5.0] * 50 + [10.0] * 50), 1.5) is holds
