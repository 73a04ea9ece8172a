"""The report of ``./x bench jobs`` on a run: its table fits the page."""

from pathlib import Path

from bench.durability.figure import Figure
from bench.jobs.command import FIGURES
from bench.jobs.figure import share

DOCUMENT = Path(__file__).parents[1] / "docs" / "jobs.md"


def test_the_table_has_its_place_in_the_document() -> None:
    cells = Figure("due: x", "y", "1 ms", bar="z", held=False).cells("2026-11-27")
    written = FIGURES.written(DOCUMENT.read_text(), [cells], "a machine")
    assert FIGURES.rows_of(written)["due: x"] == cells
    assert cells[-2] == "**missed**"


def test_a_share_is_one_of_the_values() -> None:
    assert [share(range(1, 101), part) for part in (0.5, 0.99, 1.0)] == [51, 100, 100]
