"""A start that fails at any of its steps closes what it has opened."""

import asyncio
import gc
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from service.app import composition, running
from service.config.settings import Settings
from tests.procfs import children

STEPS = (
    "listen", "clock_of", "open_storage", "open_steps", "open_slots", "open_broker", "open_pipelines", "Hub",
    "memory_limit", "Fetcher", "Runner", "Batches", "Selector", "Watches", "CallJobs", "Jobs", "Jobs.open",
    "credentials_of", "Service", "StatsTopic", "application_of", "HttpRunner", "check_internals",
    "HttpRunner.start", "Acceptor", "Acceptor.start",
)  # fmt: skip
LATE = ("Jobs", "Acceptor.start")
"""Steps before which a process for functions is started, too: that takes half a second."""


class InjectedError(Exception):
    """Raised by the step that fails."""


def failing(*_: Any, **__: Any) -> None:
    raise InjectedError


def descriptors() -> Counter[str]:
    """Return what the descriptors of this process are of."""
    gc.collect()
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the list itself
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    return found


async def start(folder: Path, jobs: str | None) -> None:
    settings = Settings(port=0, data=str(folder / "data"), blobs=str(folder / "blobs"), jobs=jobs)
    try:
        async with running(settings):
            assert asyncio.get_running_loop().get_exception_handler() is not None
    finally:
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert asyncio.get_running_loop().get_exception_handler() is None


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have what is made once for the whole process."""
    asyncio.run(start(tmp_path_factory.mktemp("warm"), None))


@pytest.mark.parametrize("step", STEPS)
def test_a_start_that_fails_leaves_nothing_open(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, method = step.partition(".")
    holder: object = getattr(composition, name) if method else composition
    monkeypatch.setattr(holder, method or name, failing)
    before, processes = descriptors(), children(os.getpid())
    with pytest.raises(InjectedError):
        asyncio.run(start(tmp_path, "tests.slots.functions" if step in LATE else None))
    # c-ares closes its own in a thread.
    deadline = monotonic() + 30
    while (left := descriptors() - before) and monotonic() < deadline:
        sleep(0.01)
    assert (left, set(children(os.getpid())) - set(processes)) == (Counter(), set())
