"""The structure holds; and each rule is seen to fail on a small tree that breaks it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import RULES, Module, cycles, docstrings, layering, length, purity, read

ROOT = Path(__file__).parent.parent
OURS = read(ROOT, "service", "loadtest")


@pytest.mark.parametrize("rule", RULES)
def test_it_holds(rule: Callable[[list[Module]], list[str]]) -> None:
    assert len(OURS) > 50
    assert rule(OURS) == []


def tree(folder: Path, **sources: str) -> list[Module]:
    for name, source in sources.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return read(folder, *{name.split("__")[0] for name in sources})


@pytest.mark.parametrize(
    ("rule", "sources", "named"),
    [
        (layering, {"service__core__a": "from service.edge.b import x"}, "above"),
        (layering, {"service__upstream__a": "import service.app"}, "above"),
        (layering, {"loadtest__a": "from service.core.wire import x"}, "contract"),
        (layering, {"service__app": "import loadtest.origin"}, "alone"),
        (layering, {"service__client__a": "from service.core.closing import x"}, "contract alone"),
        (layering, {"service__client__a": "from service import x"}, "contract alone"),
        (layering, {"service__edge__a": "from service.client import x"}, "other programs"),
        (layering, {"loadtest__a": "from service import client"}, "other programs"),
        (purity, {"service__core__a": "def f():\n    import asyncio"}, "asyncio"),
        (purity, {"service__core__a": "from time import monotonic"}, "time"),
        (layering, {"service__client__a": "from ..core.closing import x"}, "contract alone"),
        (cycles, {"p__a": "from .b import x", "p__b": "from . import a"}, "p.a -> p.b"),
        (cycles, {"p__a": "import p.b", "p__b": "from p.c import x", "p__c": "import p.a"}, "p.a -> p.b"),
        (length, {"p__a": "x = 1\n" * 301}, "301"),
        (docstrings, {"p__a": "x = 1"}, "p.a has"),
        (docstrings, {"p__a": '"""A."""\nclass B:\n    """B."""\n    def c(self): ...'}, "B.c"),
    ],
)
def test_each_rule_can_fail(
    tmp_path: Path, rule: Callable[[list[Module]], list[str]], sources: dict[str, str], named: str
) -> None:
    assert any(named in wrong for wrong in rule(tree(tmp_path, **sources)))


def test_what_type_checkers_alone_see_is_no_cycle(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.b"
    assert cycles(tree(tmp_path, p__a=guarded, p__b="import p.a")) == []
