"""Functions in processes of their own keep the contract of every executor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.core.jobs.request import RunWork
from service.jobs.executor import Executor
from service.jobs.slots import open_slots
from tests.jobs.test_executor import Does, ExecutorContract

WORKS: dict[Does, RunWork] = {
    "succeeds": RunWork("add", [1, 2]),
    "fails": RunWork("odd"),
    "hangs": RunWork("stop_when_asked"),
}


class TestSlots(ExecutorContract):
    """Real functions: one that adds, one whose result has no form in JSON, and one that waits to be stopped."""

    kind = "run"
    work = WORKS["succeeds"]
    refused = RunWork("missing")

    @asynccontextmanager
    async def made(self, does: Does) -> AsyncIterator[Executor]:
        slots = await open_slots("tests.slots.functions", 2, 2 << 30)
        assert slots is not None
        self.slots, self.work = slots, WORKS[does]
        yield slots
        await slots.close()

    def busy(self) -> int:
        return len(self.slots._busy)
