"""URLs that wait for a place at their host: by host, and there by owner; their deadlines in one heap.

A URL waits from the moment it is parked until it starts, also while a place is reserved for it already
(``task.place``). Everything here costs the same however many wait elsewhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush
from math import inf

from service.core.fetching.outcome import Failure
from service.core.fetching.place_shares import OwnerState
from service.core.fetching.task import FetchTask
from service.core.owner import Owner

__all__ = ["Parking", "too_late", "unavailable"]

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
        """The tasks of each owner; who comes first has the next turn. Plain dicts look for their first key in vain
        where many before it were deleted."""
        self.shut_until = 0.0
        """The end of the last pause for all owners for which the tasks are being looked through, or were."""
        self.unseen: list[tuple[FetchTask, float]] = []
        """Those that are not looked through yet, each with the end of its pause; the last one is next."""


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
        self._looking: dict[OwnerState, None] = {}
        self._looks = _LOOKS
        self._looks_again = 0.0

    def __repr__(self) -> str:
        return f"<Parking {self.waiting} wait at {len(self.hosts)} hosts>"

    def add(self, task: FetchTask) -> bool:
        """Have a URL wait for a place at its host, after others of its owner; return whether there were some."""
        origin, owner = task.target.origin, task.group.owner
        host = self.hosts.get(origin)
        if host is None:
            host = self.hosts[origin] = _Host()
        self.watch(task)
        tasks = host.owners.get(owner)
        if tasks is None:
            host.owners[owner] = OrderedDict({task: None})
            return False
        tasks[task] = None
        return True

    def watch(self, task: FetchTask) -> None:
        """Have the deadline of a URL looked at until it starts: it waits, with a place or without."""
        self.waiting += 1
        self._count += 1
        heappush(self._deadlines, (task.deadline, self._count, task))

    def left(self, task: FetchTask) -> None:
        """Count a URL out that waits no more (its state says so already): it starts, or never will."""
        self.waiting -= 1
        if not task.place:
            self._remove(task)
        while self._deadlines and not self._deadlines[0][2].waiting:
            heappop(self._deadlines)
        if len(self._deadlines) > 2 * self.waiting + _STALE:
            self._deadlines = [entry for entry in self._deadlines if entry[2].waiting]
            heapify(self._deadlines)

    def pop_first(self, origin: str, now: float, may: Callable[[Owner, str, float], bool]) -> FetchTask | None:
        """Take out the first URL of the next owner at a host that may have a place; it goes on waiting."""
        host = self.hosts.get(origin)
        if host is None:
            return None
        owners = host.owners
        for _ in range(len(owners)):
            owner = next(iter(owners))
            tasks = owners[owner]
            owners.move_to_end(owner)
            if may(owner, origin, now):
                task = next(iter(tasks))
                self._remove(task)
                return task
        return None

    def pop_late(self, now: float) -> list[FetchTask]:
        """Return those that wait and whose deadline has come, some at a time."""
        # A dict: one that waited, started and waits again for a retry has two entries.
        late: dict[FetchTask, None] = {}
        while self._deadlines and self._deadlines[0][0] <= now and len(late) < _LATE:
            task = heappop(self._deadlines)[2]
            if task.waiting:
                late[task] = None
        return [*late]

    def shut(self, origin: str, until: float, owner: Owner | None = None) -> None:
        """Have the tasks at a host looked through: it is left alone until then, for one owner or for all.

        A pause for all counts once, and replaces those that end earlier.
        """
        host = self.hosts.get(origin)
        if host is None or (owner is None and host.shut_until >= until):
            return
        if owner is None:
            host.shut_until = until
            paused = [(task, until) for task in self.at(origin)]
            others = [one for one in host.unseen if one[1] > until]
        else:
            paused = [(task, until) for task in host.owners.get(owner, ())]
            others = [one for one in host.unseen if one[1] > until or one[0].group.owner != owner]
        host.unseen = paused[::-1] + others

    def pop_hopeless(self, origin: str, now: float) -> list[tuple[FetchTask, float]]:
        """Return the tasks whose deadline comes before the end of a pause of their host, and when that ends.

        Some at a time: :meth:`pop_unfinished` names the host again while there may be more.
        """
        host = self.hosts.get(origin)
        if host is None or not host.unseen:
            return []
        if now >= self._looks_again:
            self._looks, self._looks_again = _LOOKS, now + _PAUSE
        # A dict: a task may be listed twice, for a pause of its owner and for one of everybody.
        hopeless: dict[FetchTask, float] = {}
        while host.unseen and self._looks > 0:
            task, until = host.unseen.pop()
            self._looks -= 1
            if task.waiting and not task.place and task.deadline < until:
                self._looks -= _REJECTED
                hopeless.setdefault(task, until)
        if host.unseen:
            self._unfinished[origin] = None
        return [*hopeless.items()]

    def pop_unfinished(self, now: float) -> Collection[str]:
        """Return the hosts whose URLs are to be looked through further now."""
        if not self._unfinished or now < self._looks_again:
            return ()
        unfinished, self._unfinished = self._unfinished, {}
        return unfinished

    def look_again(self, owner: OwnerState) -> None:
        """Have :meth:`pop_reopened` look at an owner that may have room again."""
        self._looking[owner] = None

    def pop_reopened(
        self, holds_back: Callable[[OwnerState], bool], has_place: Callable[[str, float, Owner], bool], now: float
    ) -> Iterator[str]:
        """Yield hosts that have a place for an owner that had all of its share before, as long as it has room."""
        while self._looking:
            owner, _ = self._looking.popitem()
            while owner.blocked and not holds_back(owner):
                origin, _ = owner.blocked.popitem()
                if origin in self.hosts and has_place(origin, now, owner.name):
                    yield origin

    def at(self, origin: str) -> list[FetchTask]:
        """Return all that wait at a host without a place."""
        host = self.hosts.get(origin)
        return [task for tasks in host.owners.values() for task in tasks] if host is not None else []

    def next_deadline(self) -> float:
        """Return the first deadline of a URL that waits, or when more are looked through; else infinity."""
        if self._unfinished and self.waiting:
            return self._looks_again
        return self._deadlines[0][0] if self._deadlines else inf

    def _remove(self, task: FetchTask) -> None:
        host = self.hosts[task.target.origin]
        tasks = host.owners[task.group.owner]
        del tasks[task]
        if not tasks:
            del host.owners[task.group.owner]
            if not host.owners:
                del self.hosts[task.target.origin]


def too_late(task: FetchTask, opens: float, now: float) -> Failure | None:
    """Say why a URL cannot get its host in time, which may be asked from ``opens`` on."""
    if task.deadline <= now:
        return Failure("timeout", "timed out before its turn")
    return unavailable(opens, now) if opens > task.deadline else None


def unavailable(opens: float, now: float) -> Failure:
    """Say that a URL waits for a host that is left alone until then."""
    return Failure("unavailable", "its host is in back-off", round(opens - now, 3))
