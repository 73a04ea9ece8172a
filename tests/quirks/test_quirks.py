"""Every quirk comes out right, and what is asked beside it and after it has its own body.

All of them are asked once, together; ``python -m tests.quirks ask NAME...`` asks for some of them by hand.
"""

import asyncio
import fcntl
import json
from typing import Any

import pytest
import uvloop

from tests.quirks.conformance import ours, written
from tests.quirks.running import run_all, without_timeouts
from tests.quirks.table import QUIRKS


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, dict[str, Any]]:
    """What is wrong with each quirk, and what docs/conformance.md should say of it: found out by the first worker."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder if worker_id == "master" else folder.parent) / "quirks.json"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            shared.write_text(json.dumps(_found()))
        found: dict[str, dict[str, Any]] = json.loads(shared.read_text())
        return found


def _found() -> dict[str, dict[str, Any]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reported = runner.run(run_all(QUIRKS))
    said = ours(QUIRKS, reported)
    return {name: {"wrong": one.wrong, "said": said[name]} for name, one in reported.items()}


# The first that runs asks for all of them.
FIRST, *OTHERS = [quirk.name for quirk in QUIRKS]


@pytest.mark.parametrize("name", [pytest.param(FIRST, marks=pytest.mark.seconds(40)), *OTHERS])
def test_a_quirk_comes_out_right(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    assert outcomes[name]["wrong"] == []


def test_the_page_has_the_outcome_of_each(outcomes: dict[str, dict[str, Any]]) -> None:
    """``python -m tests.quirks write`` makes it anew."""
    page = written()
    assert {name: page.get(name) for name in outcomes} == {name: one["said"] for name, one in outcomes.items()}


def test_a_poll_that_timed_out_says_nothing_of_a_watch() -> None:
    timeout, other = ({"event": "error", "error": error} for error in ("timeout", "protocol"))
    state, recovered = {"event": "state", "body": "one"}, {"event": "recovered"}
    expected = [("state", "one")]
    assert without_timeouts([timeout, recovered, state]) == expected
    assert without_timeouts([state, timeout, recovered]) == expected
    assert without_timeouts([state, timeout]) == expected
    assert without_timeouts([state, timeout, other, recovered]) == [*expected, ("error", None), ("recovered", None)]
    errors = [("error", None), ("recovered", None)]
    assert without_timeouts([state, other, timeout, recovered, state]) == [*expected, *errors, *expected]
    assert without_timeouts([other, timeout, other, recovered]) == errors
