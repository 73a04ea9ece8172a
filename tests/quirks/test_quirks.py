"""Every quirk comes out right, and what is asked beside it and after it has its own body.

All of them are asked once, together; ``python -m tests.quirks ask NAME...`` asks for some of them by hand.
"""

import asyncio
import fcntl
import json

import pytest
import uvloop

from tests.quirks.running import run_all
from tests.quirks.table import QUIRKS
from tests.quirks.waiting import WAITING


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, list[str]]:
    """What is wrong with each quirk: found out by whichever worker comes first, for all of them."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder if worker_id == "master" else folder.parent) / "quirks.json"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            shared.write_text(json.dumps(_found()))
        found: dict[str, list[str]] = json.loads(shared.read_text())
        return found


def _found() -> dict[str, list[str]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(run_all([quirk for quirk in QUIRKS if quirk.name not in WAITING]))
    return {name: one.wrong for name, one in told.items()}


@pytest.mark.parametrize("name", [quirk.name for quirk in QUIRKS if quirk.name not in WAITING])
def test_a_quirk_comes_out_right(outcomes: dict[str, list[str]], name: str) -> None:
    assert outcomes[name] == []


def test_what_waits_is_a_quirk() -> None:
    assert {quirk.name for quirk in QUIRKS} >= WAITING
