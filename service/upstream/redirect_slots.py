"""Redirects to other hosts: they give up their place and wait for one at the new host.

Without that, names that all redirect to one host would have as many requests at once there as they have
hosts. A redirected URL has waited in a batch already, so it goes before URLs that still do.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import Failure
from service.core.fetching.task import FetchTask
from service.core.owner import Owner

__all__ = ["RedirectSlots"]


class RedirectSlots:
    """All who wait for a place at another host; ``freed`` is called when somebody has given up one."""

    def __init__(self, hosts: HostLimiter, freed: Callable[[], None]) -> None:
        self._hosts = hosts
        self._freed = freed
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[str, deque[tuple[asyncio.Future[None], Owner]]] = {}
        """For each host who waits there, and for which owner."""

    def __repr__(self) -> str:
        return f"<RedirectSlots {sum(map(len, self.waiting.values()))} waiting>"

    async def move(self, work: FetchTask, origin: str) -> Failure | None:
        """Exchange a place for one at ``origin``; return why that is in vain where it is."""
        opens, now = self._hosts.opens_at(origin), self._loop.time()
        if opens > work.deadline:
            return Failure("unavailable", "the host of a redirect is in back-off", round(opens - now, 3))
        owner = work.group.owner
        self._hosts.end(work.place, owner)
        work.place = ""
        self._freed()
        if origin in self.waiting or not self._hosts.has_place(origin, now):
            await self._wait(origin, owner)
        else:
            self._hosts.begin(origin, owner)
        work.place = origin
        return None

    async def _wait(self, origin: str, owner: Owner) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        queue = self.waiting.setdefault(origin, deque())
        queue.append((turn, owner))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hosts.end(origin, owner)
                self._freed()
            elif (turn, owner) in queue:
                queue.remove((turn, owner))
                if not queue and self.waiting.get(origin) is queue:
                    del self.waiting[origin]
            raise

    def admit(self) -> None:
        """Let in those that there is a place for now."""
        if not self.waiting:
            return
        now = self._loop.time()
        for origin, queue in tuple(self.waiting.items()):
            try:
                self._admit(origin, queue, now)
            except Exception as error:
                # It is the host's state: only URLs that wait there fail of it.
                for turn, _ in queue:
                    if not turn.done():
                        turn.set_exception(error)
                queue.clear()
            if not queue:
                del self.waiting[origin]

    def _admit(self, origin: str, queue: deque[tuple[asyncio.Future[None], Owner]], now: float) -> None:
        while queue and self._hosts.has_place(origin, now):
            turn, owner = queue[0]
            if not turn.done():
                self._hosts.begin(origin, owner)
                turn.set_result(None)
            queue.popleft()
