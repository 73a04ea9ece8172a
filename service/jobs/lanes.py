"""Which job is next: the due jobs of one kind, of their owners in turns, a bounded number at once.

An attempt may take as long as its ``timeout`` allows, so no owner may lock out the others: it leaves a tenth of the
places to them. Where there are so few places that it may have all, there is an extra one for owners that have none.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from service.core.jobs.agenda import Agenda
from service.core.jobs.request import Kind
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.rotation import FairQueue, OwnerQueue
from service.runtime.containment import report_failure

__all__ = ["Begin", "Lane", "LaneWork"]

_TAKEN: Final = 500
"""Jobs that are taken out of the agenda in one turn of the loop, 2 us each."""
_AGAIN: Final = 1.0
"""Seconds after which a job that could not be carried out is tried again."""
_BEGUN: Final = 20
"""Jobs that begin in one turn of the loop."""
_EAGER: Final = 9
"""One owner alone has nine tenths of the places, or all if there are fewer than ten."""

LaneWork = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
"""Carries out a job, and calls its argument when the job no longer needs its place."""
Begin = Callable[[int, Callable[[], None]], Coroutine[Any, Any, None]]
"""The same for the job in a row of the table."""


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
        self.pool = Pool(f"{kind}_jobs", places, eager=_EAGER)
        """The places, by the owners whose attempts have them."""
        self.places = places
        self._spare = int(places <= _EAGER)
        self.running: dict[int, asyncio.Task[None]] = {}
        """Tasks by row; a task is here until its attempt is over and stored."""
        self._working: dict[int, Owner] = {}
        """Rows that have a place, and their owners: until the outcome is known, even if it is not stored yet."""
        self._once_more: set[int] = set()
        """Rows in ``running`` that are due again already."""
        self.on_free: Callable[[], None] = lambda: None
        """Called when a place is free again."""
        self._agenda = agenda
        self._begin = begin
        self._queue: FairQueue[int] = FairQueue(1)
        self._queued: set[int] = set()
        self._aside: dict[Owner, OwnerQueue[int]] = {}
        """Due jobs of owners that have used up their share, until a place is free."""

    def __repr__(self) -> str:
        return f"<Lane {self.kind}: {len(self._working)} of {self.places} run, {self.due} due>"

    @property
    def due(self) -> int:
        """How many are due and have no place."""
        return len(self._queued)

    def pump(self, now: float) -> bool:
        """Begin what may begin now; return whether more may in the next turn of the loop."""
        due = self._queue_due(now)
        begun = 0
        while self._queue and len(self._working) < self.places + self._spare and begun < _BEGUN:
            line = self._queue.first
            if not self._has_place(line.owner):
                self.pool.refused += 1
                self._aside[line.owner] = self._queue.set_aside()
                continue
            row = line.items.popleft()
            self._queue.spend(1)
            self._queued.discard(row)
            if row in self.running:
                self._once_more.add(row)
            elif row in self._agenda:
                self._occupy(row, line.owner)
                self.start(row, partial(self._begin, row))
                begun += 1
        return due == _TAKEN or begun == _BEGUN

    def _has_place(self, owner: Owner) -> bool:
        places = self.places if self.pool.held(owner) else self.places + self._spare
        return len(self._working) < places and self.pool.room(owner) > 0

    def _queue_due(self, now: float) -> int:
        due = 0
        while due < _TAKEN and (row := self._agenda.pop_due(self.kind, now)) is not None:
            due += 1
            self._put(row)
        return due

    def _put(self, row: int) -> None:
        if row not in self._queued and row in self._agenda:
            self._queued.add(row)
            owner = self._agenda.get(row).owner
            if (line := self._aside.get(owner)) is not None:
                line.items.append(row)
            else:
                self._queue.put(owner, row)

    def reserve(self, row: int, owner: Owner, now: float) -> bool:
        """Give a place to a new job that is due, unless other jobs wait for one; return whether it got one."""
        due = self._agenda.next_due(self.kind)
        others_wait = bool(self._queue) or owner in self._aside or (due is not None and due <= now)
        if others_wait or not self._has_place(owner):
            return False
        self._occupy(row, owner)
        return True

    def _occupy(self, row: int, owner: Owner) -> None:
        self._working[row] = owner
        self.pool.charge(owner, 1)

    def start(self, row: int, work: LaneWork) -> None:
        """Carry out the work of a job that has a place."""
        if not self.places:
            return  # the service is shutting down
        task = asyncio.get_running_loop().create_task(self._carry_out(row, work), name="job")
        self.running[row] = task
        task.add_done_callback(lambda task: self._ended(row, task))

    async def _carry_out(self, row: int, work: LaneWork) -> None:
        # An error is one of this task, wherever it is raised.
        await work(partial(self.free, row))

    def free(self, row: int) -> None:
        """Give the place of an attempt to the next one."""
        self._release(row)
        self.on_free()

    def _release(self, row: int) -> None:
        """Free the place of an attempt, if it still has one; owners that were set aside have turns again."""
        if (owner := self._working.pop(row, None)) is None:
            return
        self.pool.release(owner, 1)
        for line in self._aside.values():
            self._queue.restore(line)
        self._aside.clear()

    def _ended(self, row: int, task: asyncio.Task[None]) -> None:
        del self.running[row]
        if report_failure("a job could not be carried out", task):
            asyncio.get_running_loop().call_later(_AGAIN, self._try_again, row)
        if row in self._once_more:
            self._once_more.remove(row)
            self._put(row)
        self._release(row)
        self.on_free()

    def _try_again(self, row: int) -> None:
        """Queue a job again after a bug ended its attempt before that was stored."""
        self._put(row)
        self.on_free()

    async def close(self) -> None:
        """Cancel running attempts, and begin no others."""
        self.places = self._spare = 0
        tasks = tuple(self.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
