"""When jobs begin, and when they are forgotten."""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from service.core.jobs.agenda import Agenda
from service.core.jobs.request import Kind
from service.core.owner import Owner
from service.core.pool import PoolStatistics, share_used
from service.jobs.lanes import Begin, Lane
from service.runtime.timer import Periodic

__all__ = ["JobSchedule"]

_INTERVAL: Final = 1.0
"""Seconds after which the wall clock is looked at again, at the latest: it may be set."""
_SHORTEST: Final = 0.001
_FORGOTTEN: Final = 100
"""Jobs that are forgotten in one turn of the loop."""


class JobSchedule:
    """Begins what is due, in a lane for each kind; ``begin`` and ``forget`` get the row of a job."""

    def __init__(
        self,
        agenda: Agenda,
        begin: Mapping[Kind, tuple[int, Begin]],
        forget: Callable[[int], object],
        wall: Callable[[], float],
    ) -> None:
        self.lanes = {kind: Lane(kind, agenda, places, one) for kind, (places, one) in begin.items()}
        for lane in self.lanes.values():
            lane.on_free = self.wake
        self._agenda = agenda
        self._forget = forget
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._timer = Periodic("jobs", _INTERVAL, self._pump)
        self._waking = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<JobSchedule {list(self.lanes.values())}>"

    def wake(self) -> None:
        """Look in the next turn of the loop whether something may begin."""
        if not self._waking and not self._closed:
            self._waking = True
            self._loop.call_soon(self._pump_now)

    def reserve(self, kind: Kind, row: int, owner: Owner) -> Lane | None:
        """Give a new job that is due a place, and return its lane; return None if the job has to wait."""
        lane = self.lanes[kind]
        return lane if not self._closed and lane.reserve(row, owner, self._wall()) else None

    def stop(self, kind: Kind, row: int) -> None:
        """Cancel the running attempt of a job, if there is one."""
        task = self.lanes[kind].running.get(row)
        if task is not None:
            task.cancel()

    def _pump_now(self) -> None:
        self._waking = False
        if not self._closed:
            self._timer.stop()
            self._timer.start(after=0.0)

    def _pump(self) -> float | None:
        """Begin due jobs, forget those kept long enough; return the seconds to the next check or None."""
        now = self._wall()
        more = [lane.pump(now) for lane in self.lanes.values()]
        for _ in range(_FORGOTTEN):
            row = self._agenda.pop_expired(now)
            if row is None:
                break
            self._forget(row)
        if any(more):
            return 0.0
        if not self._agenda:
            return None  # there are no jobs: the first one calls wake()
        due = min((at for kind in self.lanes if (at := self._agenda.next_due(kind)) is not None), default=inf)
        return max(_SHORTEST, min(_INTERVAL, due - now))

    @property
    def running(self) -> int:
        """How many jobs run."""
        return sum(len(lane.running) for lane in self.lanes.values())

    def places(self) -> PoolStatistics:
        """Return a snapshot of the places of the busiest kind."""
        return max((lane.pool.statistics() for lane in self.lanes.values()), key=share_used)

    def pause(self) -> None:
        """Begin no more jobs; running attempts go on."""
        self._closed = True
        self._timer.stop()

    async def close(self) -> None:
        """Cancel running attempts, and begin no others."""
        self.pause()
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))
