"""The structure holds; and each rule is seen to fail on a small tree that breaks it."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import mirror
from tests.architecture import (
    ALLOWED,
    ENGINES,
    RULES,
    Module,
    cycles,
    docstrings,
    engines,
    folder_cycles,
    function_lengths,
    layering,
    length,
    names,
    ports,
    purity,
    queries,
    read,
    top,
)
from tests.contracts import CONTRACTS, uncontracted
from tests.mirror import unmirrored

ROOT = Path(__file__).parent.parent
TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.b"


@cache
def ours() -> list[Module]:
    return read(ROOT, "service", "loadtest")


@pytest.fixture(scope="module", autouse=True)
def free_trees() -> Iterator[None]:
    """Free millions of objects that every later run of the garbage collector would look at."""
    yield
    ours.cache_clear()


@pytest.mark.parametrize("rule", RULES)
def test_it_holds(rule: Callable[[list[Module]], list[str]]) -> None:
    assert len(ours()) > 50
    assert rule(ours()) == []


def tree(folder: Path, **sources: str) -> list[Module]:
    for name, source in sources.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return read(folder, *{name.split("__")[0] for name in sources})


@pytest.mark.parametrize(
    ("rule", "sources", "named"),
    [
        (layering, {"service__core__a": "from service.edge.http.b import x"}, "may not"),
        (layering, {"service__core__a": "from service.edge import http"}, "may not"),
        (layering, {"service__upstream__a": "import service.app"}, "may not"),
        (layering, {"service__upstream__a": "from service import sources"}, "may not"),
        (layering, {"service__sources__a": "from service.edge.http import b"}, "may not"),
        (layering, {"service__edge__http__a": "from service.edge.access.b import x"}, "may not"),
        (layering, {"service__edge__description__a": "from service.sources.b import x"}, "may not"),
        (layering, {"service__ops__a": "from service.config.settings import x"}, "may not"),
        (layering, {"service__a": "x = 1"}, "no layer"),
        (layering, {"service__new__a": "x = 1"}, "no layer"),
        (layering, {"loadtest__a": "from service.core.topics.wire import x"}, "may not"),
        (layering, {"service__app": "import loadtest.origin"}, "may not"),
        (layering, {"service__app": "from tests import virtual"}, "alone"),
        (layering, {"service__client__a": "from service.core.sessions.closing import x"}, "may not"),
        (layering, {"service__client__a": "from service import x"}, "may not"),
        (layering, {"service__edge__http__a": "from service.client import x"}, "may not"),
        (layering, {"loadtest__a": "from service import client"}, "may not"),
        (purity, {"service__core__a": "def f():\n    import asyncio"}, "asyncio"),
        (purity, {"service__core__a": "from time import monotonic"}, "time"),
        (purity, {"service__core__a": "from uuid import uuid4"}, "uuid"),
        (purity, {"service__core__b__a": "import aiodns"}, "aiodns"),
        (engines, {"service__sources__a": "import apsw"}, "apsw"),
        (engines, {"service__jobs__jobs": "def f():\n    from celery import Celery"}, "celery"),
        (engines, {"service__work__builtin__text": "from PIL.Image import open"}, "PIL"),
        (engines, {"service__edge__http__a": "import unheard_of"}, "unheard_of"),
        (top, {"service__a": "x = 1"}, "service.a"),
        (layering, {"service__client__a": "from ..core.closing import x"}, "may not"),
        (cycles, {"p__a": "from .b import x", "p__b": "from . import a"}, "p.a -> p.b"),
        (cycles, {"p__a": "import p.b", "p__b": "from p.c import x", "p__c": "import p.a"}, "p.a -> p.b"),
        (cycles, {"p__a": TYPED, "p__b": "import p.a"}, "p.a -> p.b"),
        (folder_cycles, {"p__a__b": "import p.c.d", "p__c__d": "x = 1", "p__c__e": "import p.a.b"}, "p.a -> p.c"),
        (length, {"p__a": "x = 1\n" * 301}, "301"),
        (
            ports,
            {"service__core__a": "class A(Protocol):\n    def b(self, c: list[Any]) -> dict[str, Any]: ..."},
            "A has Any in line 2",
        ),
        (queries, {"p__a": "def may_start(self): self._batches.pop(1)"}, "may_start"),
        (queries, {"p__a": "def _is_due(self):\n    del self.due[1]"}, "line 2"),
        (queries, {"p__a": "def waiting(self):\n    self.count += 1"}, "waiting"),
        (
            names,
            {"p__a": "class Lease: ...", "p__b": "class Lease: ..."},
            "Lease stands for several things: p.a, p.b",
        ),
        (docstrings, {"p__a": "x = 1"}, "p.a has"),
        (docstrings, {"p__a": '"""A."""\nclass B:\n    """B."""\n    def c(self): ...'}, "B.c"),
    ],
)
def test_each_rule_can_fail(
    tmp_path: Path, rule: Callable[[list[Module]], list[str]], sources: dict[str, str], named: str
) -> None:
    assert any(named in wrong for wrong in rule(tree(tmp_path, **sources)))


def test_a_folder_and_what_is_in_it_may_know_each_other(tmp_path: Path) -> None:
    assert folder_cycles(tree(tmp_path, p__a="import p.b.c", p__b__c="import p.d", p__d="x = 1")) == []


def test_each_adapter_of_the_table_imports_its_engine() -> None:
    found = {(name.split(".")[0], module.name) for module in ours() for name in module.imports()}
    unused = [
        (engine, adapter)
        for engine, adapters in ENGINES.items()
        for adapter in adapters
        if not any(name == engine and (f"{where}.").startswith(f"{adapter}.") for name, where in found)
    ]
    assert unused == []


def test_the_documented_layers_are_the_tables() -> None:
    section = (ROOT / "ARCHITECTURE.md").read_text().split("## Layers")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")
    ]
    documented = {name.strip("`"): tuple(filter(None, allowed.split(", "))) for name, _, allowed in rows}
    table = {
        name: tuple(other.removeprefix("service.") for other in allowed if other != "service.__version__")
        for name, allowed in ALLOWED.items()
        if name not in ("service", "service.edge")
    }
    assert documented == table


def test_functions_are_short() -> None:
    """Lines from the first statement after the docstring to the last, with nested functions; signatures do not count."""
    lengths = sorted(function_lengths([module for module in ours() if module.name.startswith("service")]))
    assert len(lengths) > 1_000
    assert lengths[len(lengths) // 2] <= 5
    assert lengths[len(lengths) * 9 // 10] <= 15


def test_the_length_of_a_function_is_that_of_its_body(tmp_path: Path) -> None:
    source = 'def a(\n    b,\n):\n    """C.\n\n    D.\n    """\n    e = 1\n\n    return e\ndef f():\n    """G."""\n'
    assert [*function_lengths(tree(tmp_path, p__a=source))] == [3, 0]


def test_each_module_that_decides_something_has_its_tests() -> None:
    assert unmirrored(ROOT) == []


def test_a_module_without_tests_is_found(tmp_path: Path) -> None:
    for name in ("service/core/new.py", "service/core/old.py", "tests/core/test_old.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wrong = unmirrored(tmp_path)
    assert "service/core/new.py" in wrong[0]
    assert not any("service/core/old.py" in line for line in wrong)


def test_an_entry_that_is_out_of_date_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("service/app.py", "service/both.py", "service/new.py", "tests/test_a.py", "tests/test_new.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    tested_in = {"app": ("test_a", "test_b"), "gone": ("test_a",), "new": ("test_a",), "both": ("test_a",)}
    monkeypatch.setattr(mirror, "TESTED_IN", tested_in)
    monkeypatch.setattr(mirror, "UNDECIDED", {"both": "a table", "lost": "a name"})
    assert unmirrored(tmp_path) == [
        "gone: service/gone.py does not exist",
        "lost: service/lost.py does not exist",
        "new: test_new.py exists",
        "both: it has two entries",
        "app: test_b.py does not exist",
    ]


def test_each_port_has_a_contract_or_a_reason() -> None:
    assert uncontracted(ROOT) == []


def test_a_port_without_a_contract_is_found(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "a.py").write_text("class New(Protocol): ...\nclass Clock(Protocol): ...\n")
    wrong = uncontracted(tmp_path)
    assert "New has neither a contract nor a reason" in wrong
    assert "Broker is not a port" in wrong
    assert f"{CONTRACTS['Clock']} does not exist" in wrong
