"""Who is next: the jobs of one kind that are due, owners by turns, at most this many at once."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from service.core.fair_queue import FairQueue
from service.core.jobs.agenda import Agenda
from service.core.jobs.request import Kind
from service.runtime.containment import report

__all__ = ["Begin", "Lane"]

_TAKEN: Final = 500
"""Jobs that are taken out of the agenda in one turn of the loop, 2 us each."""
_AGAIN: Final = 1.0
"""Seconds after which a job is looked at again that could not be carried out."""
_BEGUN: Final = 20
"""Jobs that begin in one turn of the loop."""

Begin = Callable[[int, Callable[[], None]], Coroutine[Any, Any, None]]
"""Carries out the job of a row, and calls what it is given when it needs its place no more."""


class Lane:
    """Jobs of one kind; ``begin`` carries one out, or offers it."""

    def __init__(
        self,
        kind: Kind,
        agenda: Agenda,
        places: int,
        begin: Begin,
    ) -> None:
        self.kind = kind
        self.places = places
        self.running: dict[int, asyncio.Task[None]] = {}
        """By row; a task is here until all of its attempt is over."""
        self._working: set[int] = set()
        """Those of them that have a place: until the outcome is known, though it may not be stored yet."""
        self._once_more: set[int] = set()
        """Those of them that are due again already."""
        self.on_free: Callable[[], None] = lambda: None
        """Called when a place is free again."""
        self._agenda = agenda
        self._begin = begin
        self._queue: FairQueue[int] = FairQueue(1)
        self._queued: set[int] = set()

    def __repr__(self) -> str:
        return f"<Lane {self.kind}: {len(self._working)} of {self.places} run, {len(self._queued)} due>"

    @property
    def due(self) -> int:
        """How many are due and have no place."""
        return len(self._queued)

    def pump(self, now: float) -> bool:
        """Begin what may begin now; return whether more may in the next turn of the loop."""
        taken = self._take_due(now)
        begun = 0
        while self._queue and len(self._working) < self.places and begun < _BEGUN:
            row = self._queue.first.items.popleft()
            self._queue.spend(1)
            self._queued.discard(row)
            if row in self.running:
                self._once_more.add(row)
            elif row in self._agenda:
                self._start(row)
                begun += 1
        return taken == _TAKEN or begun == _BEGUN

    def _take_due(self, now: float) -> int:
        taken = 0
        while taken < _TAKEN and (row := self._agenda.pop_due(self.kind, now)) is not None:
            taken += 1
            self._put(row)
        return taken

    def _put(self, row: int) -> None:
        if row not in self._queued and row in self._agenda:
            self._queued.add(row)
            self._queue.put(self._agenda.get(row).owner, row)

    def _start(self, row: int) -> None:
        self._working.add(row)
        task = asyncio.get_running_loop().create_task(self._carry_out(row), name="job")
        self.running[row] = task
        task.add_done_callback(lambda task: self._ended(row, task))

    async def _carry_out(self, row: int) -> None:
        # An error is one of this task, wherever it is raised.
        await self._begin(row, partial(self._free, row))

    def _free(self, row: int) -> None:
        """Give the place of an attempt to the next one."""
        self._working.discard(row)
        self.on_free()

    def _ended(self, row: int, task: asyncio.Task[None]) -> None:
        del self.running[row]
        if not task.cancelled() and (error := task.exception()) is not None:
            report("a job could not be carried out", error)
            asyncio.get_running_loop().call_later(_AGAIN, self._try_again, row)
        if row in self._once_more:
            self._once_more.remove(row)
            self._put(row)
        self._working.discard(row)
        self.on_free()

    def _try_again(self, row: int) -> None:
        """Queue a job again after a bug ended its attempt before that was stored."""
        self._put(row)
        self.on_free()

    async def close(self) -> None:
        """Cancel running attempts, and begin no others."""
        self.places = 0
        tasks = tuple(self.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
