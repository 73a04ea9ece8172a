"""The tables of waits in ARCHITECTURE.md: each row names a test that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SECTION = (
    (TESTS.parent / "ARCHITECTURE.md").read_text().partition("## No wait without an end\n")[2].partition("\n## ")[0]
)


def rows(section: str) -> Iterator[tuple[Path, str]]:
    """Yield the folder of a table's tests, and each last cell."""
    folder = TESTS
    for line in section.splitlines():
        if not line.startswith("| ") or not line.endswith(" |"):
            continue
        last = line.strip("| ").split(" | ")[-1]
        if heading := re.fullmatch(r"test \(`tests/(.*)`\)", last):
            folder = TESTS / heading[1]
        else:
            yield folder, last


def missing(section: str) -> list[str]:
    """Return the last cells that name no test."""
    return [cell for folder, cell in rows(section) if not _is_test(folder, cell)]


def _is_test(folder: Path, cell: str) -> bool:
    named = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)`", cell)
    if named is None or not (path := folder / named[1]).is_file():
        return False
    tree = ast.parse(path.read_text())
    return any(
        isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == named[2] for one in tree.body
    )


def test_each_wait_names_its_test() -> None:
    assert len(list(rows(SECTION))) > 30
    assert missing(SECTION) == []


@pytest.mark.parametrize(
    "cell",
    ["later", "`test_waits_table.py`", "`test_nowhere.py::test_x`", "`test_waits_table.py::test_that_is_not_here`"],
)
def test_a_row_without_a_test_is_found(cell: str) -> None:
    table = "| what waits | test (`tests/`) |\n|---|---|\n| a | `test_waits_table.py::test_each_wait_names_its_test` |\n"
    assert missing(f"{table}| b | {cell} |\n") == [cell]
