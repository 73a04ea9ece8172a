"""The worker processes: started on demand, given to owners by turns, replaced when they end or take too long."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from service.core.owner import Owner
from service.runtime.giving_way import GivingWay
from service.runtime.timer import IdleTimer
from service.runtime.turns import Turns
from service.work.errands import Errand, ErrandResult, MemoryFile
from service.work.worker_process import WorkerGone, WorkerProcess

__all__ = ["StepTimeout", "WorkerPool"]

_log = logging.getLogger("sluice.steps")

_ATTEMPTS: Final = 2
"""Of one errand, where its process ends under it: it may have been killed for another reason."""
_SPARE: Final = 1
_IDLE: Final = 60.0
"""Seconds after which processes that have nothing to do are ended: each has 25 MiB or more."""


class StepTimeout(Exception):
    """It took too long, and its process was ended."""


class WorkerPool:
    """At most ``size`` processes, and one more for owners that have none while others have all.

    A process that ends or hangs costs only its own errand.
    """

    def __init__(
        self, size: int, modules: Sequence[str], *, memory: int, gives_way: GivingWay | None = None
    ) -> None:
        self.turns = Turns(size, _SPARE)
        self._gives_way = gives_way or GivingWay()
        self._modules = modules
        self._memory = memory
        self._free: list[WorkerProcess] = []
        self._idle = IdleTimer(self._dismiss)
        self._killed: list[WorkerProcess] = []
        """Processes that may not be gone yet."""
        self.replaced = 0
        """How many processes ended under an errand, or were ended since it took too long."""

    def __repr__(self) -> str:
        return f"<WorkerPool {self.turns!r}, {len(self._free)} free processes>"

    async def carry_out(
        self, errand: Errand, body: bytes | memoryview, owner: Owner, time: float
    ) -> tuple[ErrandResult, MemoryFile]:
        """Carry out a step within so many seconds from its beginning; raises StepTimeout and WorkerGone."""
        async with self.turns.turn(owner):
            await self._gives_way.wait()
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return await self._try(errand, body, time, fresh=attempt > 1)
                except WorkerGone as error:
                    why = str(error)
                    _log.warning("a worker ended", extra={"step": errand.step, "attempt": attempt, "why": why})
        raise WorkerGone(f"no process carried it out, in two tries: {why}")

    async def _try(
        self, errand: Errand, body: bytes | memoryview, time: float, *, fresh: bool
    ) -> tuple[ErrandResult, MemoryFile]:
        # What ended one process may be ending the others, too: the second try is in a new one.
        worker = (None if fresh else self._acquire()) or await WorkerProcess.start(self._modules, self._memory)
        try:
            async with asyncio.timeout(time):
                answer = await worker.carry_out(errand, body)
        except BaseException as error:
            # It ended, hangs, or works for one who has gone.
            self._kill(worker)
            self.replaced += 1
            if isinstance(error, TimeoutError):
                raise StepTimeout(f"took longer than {time:g} s") from None
            raise
        self._free.append(worker)
        self._idle.restart(_IDLE)
        return answer

    def _acquire(self) -> WorkerProcess | None:
        """Take a process that has nothing to do."""
        while self._free:
            worker = self._free.pop()
            if not worker.deaf:
                return worker
            self._kill(worker)
            self.replaced += 1
        return None

    def _dismiss(self) -> None:
        """End the processes that have nothing to do."""
        free, self._free = self._free, []
        for worker in free:
            self._kill(worker)

    def _kill(self, worker: WorkerProcess) -> None:
        worker.kill()
        self._killed = [one for one in self._killed if not one.ended]
        self._killed.append(worker)

    async def close(self) -> None:
        """End all processes, and return when they are gone; nothing is carried out any more."""
        self._idle.cancel()
        self._dismiss()
        for worker in self._killed:
            await worker.wait()
