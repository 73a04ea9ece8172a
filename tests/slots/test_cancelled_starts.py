"""A start of a process that is cancelled, at any turn of the loop, leaves no process and no descriptor."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from service.jobs.slot_process import SlotProcess
from service.upstream.content.selection_forks import SelectionForks
from service.work.worker_process import WorkerProcess
from tests.app.test_composition import descriptors
from tests.procfs import children

TURNS = 12
"""By then the process runs, and is waited for, as it is in all turns after that."""


async def fork() -> None:
    forks = SelectionForks()
    try:
        _, writer = await forks.fork(10)
        writer.close()
    finally:
        await forks.close()


async def worker() -> None:
    started = await WorkerProcess.start((), 0)
    started.kill()
    await started.wait()


async def slot() -> None:
    started = await SlotProcess.start("tests.slots.functions", 0)
    await started.kill()


@pytest.mark.parametrize("start", [fork, worker, slot])
async def test_a_cancelled_start_leaves_nothing(start: Callable[[], Awaitable[None]]) -> None:
    await start()  # what is made once for the whole process
    before, tasks, processes = descriptors(), asyncio.all_tasks(), set(children(os.getpid()))
    for turns in range(TURNS):
        task = asyncio.ensure_future(start())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):  # where the machine is slow, it may have ended by then
            await task
        async with asyncio.timeout(30):
            while left(before) or set(children(os.getpid())) - processes or asyncio.all_tasks() - tasks:
                await asyncio.sleep(0.001)


def left(before: Counter[str]) -> Counter[str]:
    return descriptors() - before


async def test_a_slot_whose_connection_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(**_: object) -> None:
        raise asyncio.CancelledError

    await slot()
    before, tasks, processes = descriptors(), asyncio.all_tasks(), set(children(os.getpid()))
    monkeypatch.setattr(asyncio, "open_connection", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await slot()
    assert (set(children(os.getpid())) - processes, asyncio.all_tasks() - tasks) == (set(), set())
    async with asyncio.timeout(30):
        while left(before):
            await asyncio.sleep(0.001)
