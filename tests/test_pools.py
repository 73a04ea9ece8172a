"""Every pool is in the operators' table, with a setting that exists, and no other; and `/metrics` has each."""

import ast
import re
from pathlib import Path

from service.config.settings import Settings
from tests.edge.running import client_of
from tests.edge.test_metrics import families

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def table() -> dict[str, list[str]]:
    """Return the rows of the table of shares by the pool's name: bound, what one client has, and what then."""
    begin = OPERATIONS.index("| pool | bound | a client alone has | who has used up its share |")
    rows = OPERATIONS[begin:].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {re.match(r"`(\w+)`", first)[1]: rest for first, *rest in cells}  # type: ignore[index]


def named_in_code() -> set[str]:
    """Return the name of every Pool that the service makes."""
    return {
        call.args[0].value
        for path in (ROOT / "service").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Pool"
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }


async def test_every_pool_is_in_the_table_and_among_the_figures() -> None:
    async with client_of() as client:
        found = {family.name: family for family in await families(client)}
    names = {sample.labels["pool"] for sample in found["sluice_pool_bound"].samples}
    assert named_in_code() | {"upstream", "upstream_host", "backlogs_size"} == names == table().keys()
    for figure in ("sluice_pool_used", "sluice_pool_owners", "sluice_pool_refusals"):
        samples = [sample for sample in found[figure].samples if not sample.name.endswith("_created")]
        assert {sample.labels["pool"] for sample in samples} == names, figure
        assert all(sample.labels.keys() == {"pool"} for sample in samples), figure


def test_every_row_says_what_then_and_its_settings_exist() -> None:
    for name, cells in table().items():
        assert len(cells) == 3, name
        assert all(cells), name
        for option in re.findall(r"`--([a-z-]+)`", " ".join(cells)):
            assert option.replace("-", "_") in Settings.__struct_fields__, option


async def test_bounds_are_those_of_the_settings() -> None:
    async with client_of(
        topics=1234, watches=99, websockets=77, upstream=55, upstream_host=6, connections=40
    ) as client:
        found = {family.name: family for family in await families(client)}
    bounds = {sample.labels["pool"]: sample.value for sample in found["sluice_pool_bound"].samples}
    given = {"topics": 1234, "watches": 99, "websockets": 77, "upstream": 55, "upstream_host": 6, "connections": 44}
    assert given.items() <= bounds.items()
