"""Slots: processes that run the functions of a module; started on demand, used again, replaced when they end."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from service.core.access.grants import Grant
from service.core.errors import NotFound
from service.core.jobs.events import ProgressEvent
from service.core.jobs.job import Job
from service.core.jobs.request import RunWork, Work
from service.jobs.broker import Broker
from service.jobs.executor import AttemptFailed, JobAttempt
from service.jobs.slot_messages import Ask
from service.jobs.slot_process import GRACE, ProgressSink, SlotGone, SlotProcess, SlotUnusable
from service.runtime.containment import report_failure
from service.runtime.timer import IdleTimer

__all__ = ["Slots", "SlotsUnusable", "open_broker", "open_slots"]

_IDLE: Final = 60.0
"""Seconds after which processes that have nothing to do are ended."""
_SOON: Final = 0.2
"""Seconds after which a job runs again whose process was killed."""


class SlotsUnusable(Exception):
    """Functions cannot be run; the text is one line and says what to do."""


class _Named(msgspec.Struct, frozen=True):
    """The function's name in the work of a job: skipping the arguments takes an eighth of the time."""

    name: str


async def open_slots(module: str | None, places: int, memory: int) -> "Slots | None":
    """Import the module in a first process, if there is one; raises SlotsUnusable. 0 places: one for each core."""
    if module is None:
        return None
    slots = Slots(module, places or len(os.sched_getaffinity(0)), memory)
    try:
        await slots.reload()
    except (SlotGone, SlotUnusable) as error:
        raise SlotsUnusable(f"--jobs {module}: {error}") from error
    return slots


def open_broker(url: str | None) -> Broker | None:
    """Return the broker of ``--celery``, if there is one; raises SlotsUnusable where Celery is not installed."""
    if url is None:
        return None
    try:
        from service.jobs.celery_broker import CeleryBroker
    except ImportError as error:
        raise SlotsUnusable("--celery needs the package celery: pip install 'sluice[celery]'") from error
    return CeleryBroker(url)


class Slots:
    """The executor of functions: which there are is found out by :meth:`reload`."""

    def __init__(self, module: str, places: int, memory: int) -> None:
        self.worker = "slot"
        self.places = places
        self.started = 0
        """Processes that were started."""
        self._module = module
        self._memory = memory
        self._grace = GRACE
        self._functions: dict[str, tuple[int | None, float | None]] = {}
        self._free: list[SlotProcess] = []
        self._busy: set[SlotProcess] = set()
        self._generation = 0
        self._generations: dict[SlotProcess, int] = {}
        self._idle = IdleTimer(self._dismiss)
        self._reloading = asyncio.Lock()
        self._starting: set[asyncio.Task[SlotProcess]] = set()
        self._left: list[asyncio.Task[SlotProcess]] = []
        """Starts of processes whose job was cancelled meanwhile: the next job takes over one of them."""
        self._ending: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Slots of {self._module}: {len(self._busy)} run, {len(self._free)} free>"

    async def reload(self) -> None:
        """Import the module anew; running functions go on with the old one. Raises SlotUnusable and SlotGone."""
        async with self._reloading:  # an earlier reload may take longer, and has older functions
            first = await SlotProcess.start(self._module, self._memory)
        self.started += 1
        self._generation += 1
        self._generations[first] = self._generation
        self._functions = first.functions
        self._dismiss()
        self._free.append(first)
        self._idle.restart(_IDLE)

    def hasten(self) -> None:
        """Kill functions at once when they are cancelled: the service is about to end."""
        self._grace = 0.0
        for slot in self._busy:
            slot.grace = 0.0

    def check(self, work: Work, grant: Grant) -> None:
        """Raise NotFound for a function that does not exist."""
        assert isinstance(work, RunWork)
        if work.name not in self._functions:
            raise NotFound(f"run.name: the function {work.name[:64]!r} does not exist")

    def retries(self, job: Job) -> int | None:
        """Return what the function says."""
        return self._function(job)[0]

    def time(self, job: Job) -> float | None:
        """Return what the function says."""
        return self._function(job)[1]

    def _function(self, job: Job) -> tuple[int | None, float | None]:
        return self._functions.get(msgspec.json.decode(job.work, type=_Named).name, (None, None))

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        """Run the function of a job in a process of its own."""
        work = msgspec.json.decode(attempt.job.work, type=RunWork)
        asked = Ask(work.name, work.args, attempt.job.id, attempt.job.attempt, attempt.key)

        async def report(progress: dict[str, object]) -> None:
            await attempt.report(msgspec.convert(progress, ProgressEvent))

        def printed(output: str) -> None:
            attempt.output = output

        return await self.run(asked, report, printed)

    async def run(self, asked: Ask, report: ProgressSink, printed: Callable[[str], None]) -> bytes:
        """Run a function in a process of its own for the time that it takes; raise AttemptFailed.

        ``printed`` is called at the end with what it has printed.
        """
        slot = await self._acquire()
        slot.grace = self._grace
        try:
            ended = await slot.run(asked, report)
        except SlotGone as error:
            raise AttemptFailed("killed", str(error), after=_SOON) from error
        finally:
            printed(slot.output)
            self._release(slot)
        if ended.error is not None:
            raise AttemptFailed("exception", ended.error, again=ended.again)
        return bytes(ended.result)

    async def _acquire(self) -> SlotProcess:
        """Return a process that is free, or a new one."""
        while self._free:
            slot = self._free.pop()
            if not slot.ended:
                self._busy.add(slot)
                return slot
            self._end(slot)
        while self._left:
            # Where the start of another job's process fails, this job has one of its own.
            with suppress(SlotGone, SlotUnusable):
                return await self._take_over(self._left.pop())
        try:
            return await self._take_over(self._begin_start())
        except (SlotGone, SlotUnusable) as error:
            raise AttemptFailed("killed", str(error)) from error

    async def _take_over(self, starting: asyncio.Task[SlotProcess]) -> SlotProcess:
        """Return the process of a start when it runs; a job that is cancelled leaves the start to the next one."""
        try:
            slot = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._left.append(starting)
            self._idle.restart(_IDLE)
            raise
        self._busy.add(slot)
        return slot

    def _begin_start(self) -> asyncio.Task[SlotProcess]:
        """Start a process, even if its job is cancelled meanwhile: the next one needs it, too."""
        task = asyncio.get_running_loop().create_task(self._start(), name="job process")
        self._starting.add(task)
        task.add_done_callback(self._started)
        return task

    async def _start(self) -> SlotProcess:
        generation = self._generation  # the module that it imports; a reload may come meanwhile
        slot = await SlotProcess.start(self._module, self._memory)
        self.started += 1
        self._generations[slot] = generation
        return slot

    def _started(self, task: asyncio.Task[SlotProcess]) -> None:
        self._starting.discard(task)
        if not task.cancelled():
            task.exception()  # if anybody waits for the process, this error reaches them

    def _end_started(self, task: asyncio.Task[SlotProcess]) -> None:
        """End the process of a start that nobody waits for, if the start has succeeded."""
        if not task.cancelled() and task.exception() is None:
            self._end(task.result())

    def _release(self, slot: SlotProcess) -> None:
        self._busy.discard(slot)
        if slot.ended or slot.spoilt or self._generations[slot] != self._generation:
            self._end(slot)
            return
        self._free.append(slot)
        self._idle.restart(_IDLE)

    def _dismiss(self) -> None:
        """End the processes that have nothing to do."""
        free, self._free = self._free, []
        for slot in free:
            self._end(slot)
        left, self._left = self._left, []
        for starting in left:
            if starting.done():  # not in a later turn of the loop: close() waits for what ends now
                self._end_started(starting)
            else:
                starting.add_done_callback(self._end_started)

    def _end(self, slot: SlotProcess) -> None:
        self._generations.pop(slot, None)
        task = asyncio.get_running_loop().create_task(slot.kill(), name="job process")
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        report_failure("the process of a job could not be ended", task)

    async def close(self) -> None:
        """End all processes, and return when they are gone."""
        self._idle.cancel()
        self._dismiss()
        for starting in self._starting:
            starting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for slot in tuple(self._busy):
            self._end(slot)
        await asyncio.gather(*self._ending, return_exceptions=True)
