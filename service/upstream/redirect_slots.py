"""Redirects to other hosts: a redirected URL gives up its place and waits for one at the new host.

Without that, names that all redirect to one host could have as many requests there at once as all of their hosts
allow together. A redirected URL has waited in a batch already, so it goes before URLs that still do; but no client
has more than its share of a host's places, whether its URLs name the host or are redirected to it, and clients
take turns.
"""

import asyncio
from collections.abc import Callable

from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import Failure
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.core.owner_lines import OwnerLines

__all__ = ["RedirectSlots"]

_Line = OwnerLines[Owner, asyncio.Future[None]]
"""Redirects that wait for a place at one host."""


class RedirectSlots:
    """All redirects that wait for a place at another host; ``freed`` is called when one has given up its place.

    ``clock`` says when pauses are over, and never less than the time of an alarm that has rung.
    """

    def __init__(self, hosts: HostLimiter, freed: Callable[[], None], clock: Callable[[], float]) -> None:
        self._hosts = hosts
        self._freed = freed
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.waiting: dict[str, _Line] = {}
        """The redirects that wait, by host."""

    def __repr__(self) -> str:
        return f"<RedirectSlots {sum(map(len, self.waiting.values()))} waiting>"

    async def move(
        self, work: FetchTask, origin: str, waits: Callable[[], object] = lambda: None
    ) -> Failure | None:
        """Exchange a place for one at ``origin``; return None, or why it would come too late.

        ``waits`` is called where the host has a free place that this owner may not have.
        """
        owner, now = work.group.owner, self._clock()
        opens = self._hosts.opens_for(origin, owner)
        has_place = owner not in self.waiting.get(origin, ()) and self._hosts.has_place(origin, now, owner)
        if not has_place and self._hosts.has_place(origin, now):
            waits()
        if opens > work.deadline:
            return Failure("unavailable", "the host of a redirect is in back-off", round(opens - now, 3))
        self._hosts.end(work.place, owner)
        work.place = ""
        self._freed()
        if has_place:
            self._hosts.begin(origin, owner)
        else:
            await self._wait(origin, owner)
        work.place = origin
        return None

    async def _wait(self, origin: str, owner: Owner) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self.waiting.setdefault(origin, OwnerLines()).put(owner, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._hosts.end(origin, owner)
                self._freed()
            else:
                self._remove(origin, owner, turn)
            raise

    def _remove(self, origin: str, owner: Owner, turn: asyncio.Future[None]) -> None:
        """Forget one that was cancelled while it waited."""
        if (line := self.waiting.get(origin)) is not None:
            line.discard(owner, turn)
            if not line:
                del self.waiting[origin]

    def admit(self) -> None:
        """Give the places that are free now to redirects that wait."""
        now = self._clock()
        for origin, line in tuple(self.waiting.items()):
            try:
                self._admit(origin, line, now)
            except Exception as error:
                # It comes from the host's state: only URLs that wait there fail because of it.
                for turn in line:
                    if not turn.done():
                        turn.set_exception(error)
                del self.waiting[origin]
            else:
                if not line:
                    del self.waiting[origin]

    def _admit(self, origin: str, line: _Line, now: float) -> None:
        while line and self._hosts.has_place(origin, now):
            taken = line.take(lambda owner: self._hosts.has_place(origin, now, owner))
            if taken is None:
                self._hosts.count_refusal(origin, now)
                return
            owner, turn = taken
            if not turn.done():
                self._hosts.begin(origin, owner)
                turn.set_result(None)
