"""URLs that wait for a place at their host: by host, and there by owner; their deadlines in one heap.

A URL waits from the moment it is parked until it starts, also while a place is reserved for it already
(``work.place``). Everything here costs the same however many wait elsewhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from math import inf

from service.core.fetching.task import FetchTask
from service.core.owner import Owner

__all__ = ["Parking"]

_STALE = 1000
"""Entries of the heap whose URL waits no more, beyond as many as do wait; then the heap is made anew."""
_LATE = 64
_LOOKS, _REJECTED = 1000, 10
"""URLs that are checked at once for those whose time will not suffice; each of these counts ten more."""
_PAUSE = 0.001
"""Seconds before the next are looked through: others start in between."""


class _Host:
    __slots__ = ("owners", "shut_until", "unseen")

    def __init__(self) -> None:
        self.owners: OrderedDict[Owner, OrderedDict[FetchTask, None]] = OrderedDict()
        """The works of each owner; who comes first has the next turn. Plain dicts look for their first key in vain
        where many before it were deleted."""
        self.shut_until = 0.0
        """For which pause of the host its works are looked through, or were."""
        self.unseen: list[FetchTask] = []
        """Those that are not looked through yet, the first at the end."""


class Parking:
    """All URLs that wait for a place."""

    def __init__(self) -> None:
        self.waiting = 0
        """How many wait, with a place reserved or without."""
        self.hosts: dict[str, _Host] = {}
        """Where somebody waits without a place, by origin."""
        self._deadlines: list[tuple[float, int, FetchTask]] = []
        self._count = 0
        self._unfinished: dict[str, None] = {}
        """Hosts of which some are not looked through yet for a pause."""
        self._looks = _LOOKS
        self._looks_again = 0.0

    def __repr__(self) -> str:
        return f"<Parking {self.waiting} wait at {len(self.hosts)} hosts>"

    def add(self, work: FetchTask) -> bool:
        """Have a URL wait for a place at its host, after others of its owner; return whether there were some."""
        origin, owner = work.target.origin, work.batch.owner
        host = self.hosts.get(origin)
        if host is None:
            host = self.hosts[origin] = _Host()
        self.watch(work)
        works = host.owners.get(owner)
        if works is None:
            host.owners[owner] = OrderedDict({work: None})
            return False
        works[work] = None
        return True

    def watch(self, work: FetchTask) -> None:
        """Have the deadline of a URL looked at until it starts: it waits, with a place or without."""
        work.waiting = True
        self.waiting += 1
        self._count += 1
        heappush(self._deadlines, (work.deadline, self._count, work))

    def leave(self, work: FetchTask) -> None:
        """Take note that a URL waits no more: it starts, or never will."""
        if not work.waiting:
            return
        work.waiting = False
        self.waiting -= 1
        if not work.place:
            self._take_out(work)
        if len(self._deadlines) > 2 * self.waiting + _STALE:
            self._deadlines = [entry for entry in self._deadlines if entry[2].waiting]
            heapify(self._deadlines)

    def turn(self, origin: str, now: float, may: Callable[[Owner, str, float], bool]) -> FetchTask | None:
        """Take out the first URL of the next owner at a host that may have a place; it goes on waiting."""
        host = self.hosts.get(origin)
        if host is None:
            return None
        owners = host.owners
        for _ in range(len(owners)):
            owner = next(iter(owners))
            works = owners[owner]
            owners.move_to_end(owner)
            if may(owner, origin, now):
                work = next(iter(works))
                self._take_out(work)
                return work
        return None

    def late(self, now: float) -> list[FetchTask]:
        """Return those that wait and whose deadline has come, some at a time."""
        # A dict: one that waited, started and waits again for a retry has two entries.
        late: dict[FetchTask, None] = {}
        while self._deadlines and self._deadlines[0][0] <= now and len(late) < _LATE:
            work = heappop(self._deadlines)[2]
            if work.waiting:
                late[work] = None
        return [*late]

    def hopeless(self, origin: str, until: float, now: float) -> list[FetchTask]:
        """Return whose deadline comes before the end of a pause of their host, once for each pause.

        Some at a time: :meth:`unfinished` names the host again while there may be more.
        """
        host = self.hosts.get(origin)
        if host is None:
            return []
        if host.shut_until < until:
            host.shut_until = until
            host.unseen = [work for works in host.owners.values() for work in works]
            host.unseen.reverse()
        if now >= self._looks_again:
            self._looks, self._looks_again = _LOOKS, now + _PAUSE
        hopeless = []
        while host.unseen and self._looks > 0:
            work = host.unseen.pop()
            self._looks -= 1
            if work.waiting and not work.place and work.deadline < until:
                self._looks -= _REJECTED
                hopeless.append(work)
        if host.unseen:
            self._unfinished[origin] = None
        return hopeless

    def unfinished(self, now: float) -> Collection[str]:
        """Return the hosts whose URLs are to be looked through further now."""
        if not self._unfinished or now < self._looks_again:
            return ()
        unfinished, self._unfinished = self._unfinished, {}
        return unfinished

    def at(self, origin: str) -> list[FetchTask]:
        """Return all that wait at a host without a place."""
        host = self.hosts.get(origin)
        return [work for works in host.owners.values() for work in works] if host is not None else []

    def next_deadline(self) -> float:
        """Return the first deadline of a URL that waits, or when more are looked through; else infinity."""
        if self._unfinished:
            return self._looks_again
        while self._deadlines and not self._deadlines[0][2].waiting:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else inf

    def _take_out(self, work: FetchTask) -> None:
        host = self.hosts[work.target.origin]
        works = host.owners[work.batch.owner]
        del works[work]
        if not works:
            del host.owners[work.batch.owner]
            if not host.owners:
                del self.hosts[work.target.origin]
