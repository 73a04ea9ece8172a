"""The table of docs/reliability.md is made by its command, and every test in it is explained."""

import re
from pathlib import Path

import pytest

from bench.reliability.command import TRIALS
from bench.reliability.table import RELIABILITY, row
from bench.reliability.trial import Outcome, Trial, Window

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"


def test_every_trial_is_explained_under_its_number_and_name() -> None:
    explained = re.findall(r"^\*\*(\d+) ([a-z-]+)\.\*\*", DOCUMENT.read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name in explained] == [(one.number, one.name) for one in TRIALS]


def test_every_row_is_of_a_trial_and_whole() -> None:
    names = {f"{one.number} {one.name}" for one in TRIALS}
    for name, cells in RELIABILITY.rows_of(DOCUMENT.read_text()).items():
        assert name in names
        assert len(cells) == len(RELIABILITY.heads), name


def trial(number: int) -> Trial:
    return Trial(number, f"name-{number}", "rule", lambda scene: Outcome("load", {}))


def outcome(**more: object) -> Outcome:
    window = Window(100, 0, 1.0, 2.5, 3.0)
    return Outcome("a | load", {"a": True, "b": False}, control=(window, window, window), **more)  # type: ignore[arg-type]


def test_a_row_takes_the_place_of_the_older_one_and_the_others_stay() -> None:
    empty = "before\n<!-- figures: ./x bench reliability --write docs/reliability.md -->\n<!-- end of the figures -->\nafter\n"
    first = RELIABILITY.written(
        empty, [row(trial(12), outcome(), "monday"), row(trial(2), outcome(), "monday")], "here"
    )
    second = RELIABILITY.written(first, [row(trial(12), outcome(lost=7), "tuesday")], "there")
    rows = RELIABILITY.rows_of(second)
    assert list(rows) == ["2 name-2", "12 name-12"]
    assert rows["2 name-2"][-1] == "monday"
    assert (rows["12 name-12"][-1], rows["12 name-12"][7]) == ("tuesday", "7")
    assert all(len(cells) == len(RELIABILITY.heads) for cells in rows.values())
    assert "not: b" in second
    assert "The last run: there." in second
    assert "here." not in second.replace("there.", "")
    assert second.startswith("before\n")
    assert second.endswith("\nafter\n")


def test_a_document_without_a_place_for_them_is_refused() -> None:
    with pytest.raises(ValueError, match="no lines"):
        RELIABILITY.written("# Nothing", [row(trial(1), outcome(), "today")], "here")
