"""Who may start now: fair between clients, bounded over all, for each batch and for each host.

Theory of operation. Owners (clients) stand in a ring and take turns, one start each, and none has more than
its share at once; an owner's batches take turns likewise. A batch looks at its URLs only when its turn comes:
a URL whose host is full is *parked* with the batch, and a batch has at most ``concurrency`` URLs parked or
running, so that waiting work is an index into a list and nothing else. The clock of a URL starts when its
turn has come. A URL whose host is left alone for longer than the URL has time fails at once, as
``unavailable``.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from service.core.address import Policy
from service.core.batch import BatchLimits, Failure, FetchRequest, item_of
from service.core.hosts import Hosts
from service.core.target import Refusal, check_url
from service.core.work import Asker, Work

__all__ = ["FetchPlan"]

_LOOKS = 256
"""URLs that one call looks at, at 3 to 7 us each, before it lets the loop go on."""
_AHEAD = 32


@dataclass(slots=True, eq=False)
class _Queue:
    """A batch in the plan."""

    batch: Asker
    next: int = 0
    waiting: int = 0
    ready: deque[Work] = field(default_factory=deque)
    """Checked, and not yet on the clock."""
    parked: dict[str, deque[Work]] = field(default_factory=dict)


class FetchPlan:
    """All URLs that wait; pure: their source is told of those that never start."""

    def __init__(self, limits: BatchLimits, policy: Policy, hosts: Hosts) -> None:
        self.active = 0
        self.places = limits.active
        """How many may be active; fewer while the service is overloaded."""
        self.held = False
        """Whether the last call passed over a batch that may not start now."""
        self._limits = limits
        self._policy = policy
        self._owners: dict[str, deque[_Queue]] = {}
        self._active_of: dict[str, int] = {}
        self._share_of: dict[str, int] = {}
        self._turns: deque[str] = deque()
        self._queues: dict[str, _Queue] = {}
        self._hosts = hosts
        self._later: list[tuple[float, int, Work]] = []
        self._count = 0

    def __repr__(self) -> str:
        return f"<FetchPlan {self.active} active, {len(self._queues)} batches, {len(self._later)} later>"

    def wake_at(self, now: float) -> float | None:
        """Return when a retry is due or a host is asked again, or None."""
        pause = self._hosts.wake_at(now)
        if not self._later:
            return pause
        return self._later[0][0] if pause is None else min(pause, self._later[0][0])

    def add(self, batch: Asker) -> None:
        """Take in a batch."""
        queue = self._queues[batch.id] = _Queue(batch)
        if batch.owner not in self._owners:
            self._owners[batch.owner] = deque()
            self._turns.append(batch.owner)
        self._owners[batch.owner].append(queue)
        # What the owner's newest credentials say holds for all that it has.
        self._share_of[batch.owner] = batch.share or self._limits.active_per_client

    def remove(self, batch: Asker) -> None:
        """Start nothing of this batch any more."""
        queue = self._queues.pop(batch.id, None)
        if queue is None:
            return
        queues = self._owners[batch.owner]
        queues.remove(queue)
        if not queues:
            del self._owners[batch.owner]
            del self._share_of[batch.owner]
            self._turns.remove(batch.owner)

    def next(self, now: float) -> Work | None:
        """Return what starts now, or None; whoever starts it calls :meth:`free` and :meth:`finished`."""
        self.held = False
        self._retries(now)
        if self.active >= self.places:
            return None
        for _ in range(len(self._turns)):
            if not self._turns:  # a rejected URL was the last of the last batch
                break
            owner = self._turns[0]
            self._turns.rotate(-1)
            if self._active_of.get(owner, 0) >= self._share_of[owner]:
                continue
            work = self._of_owner(self._owners.get(owner), now)
            if work is not None:
                return work
        return None

    def free(self, work: Work) -> None:
        """Free the place upstream of a URL: its request has ended, or it waits for one that another began."""
        self.active -= 1
        owner = work.batch.owner
        left = self._active_of[owner] - 1
        if left:
            self._active_of[owner] = left
        else:
            del self._active_of[owner]
        if work.place:
            self._hosts.end(work.place)
            work.place = ""

    def finished(self, work: Work) -> None:
        """Free the place of a URL in its batch."""
        work.batch.active -= 1

    def later(self, work: Work, at: float) -> None:
        """Have a URL that has no places any more return at ``at``."""
        queue = self._queues.get(work.batch.id)
        if queue is not None:
            queue.waiting += 1
            self._count += 1
            heappush(self._later, (at, self._count, work))

    def _retries(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            work = heappop(self._later)[2]
            queue = self._queues.get(work.batch.id)
            if queue is not None:
                queue.parked.setdefault(work.target.origin, deque()).append(work)

    def _of_owner(self, queues: deque[_Queue] | None, now: float) -> Work | None:
        for _ in range(len(queues or ())):
            if not queues:
                break
            queue = queues[0]
            queues.rotate(-1)
            if not (queue.parked or queue.ready or queue.next < queue.batch.total):
                continue
            verdict = queue.batch.source.may_start(queue.batch)
            if verdict is not True:
                self.held = True
                if verdict:
                    self._reject(queue, verdict)
                continue
            work = self._parked(queue, now) or self._fresh(queue, now)
            if work is not None:
                return self._start(queue, work)
        return None

    def _reject(self, queue: _Queue, failure: Failure) -> None:
        """Fail URLs that have not started, some at a time."""
        batch, left = queue.batch, _LOOKS
        waiting = [work for works in queue.parked.values() for work in works]
        queue.waiting -= len(waiting)
        waiting += queue.ready
        queue.parked.clear()
        queue.ready.clear()
        begin, queue.next = queue.next, min(queue.next + left, batch.total)
        for work in waiting:
            batch.source.failed(batch, work.index, failure, work.attempts, {})
        for index in range(begin, queue.next):
            batch.source.failed(batch, index, failure, 0, {})

    def _start(self, queue: _Queue, work: Work) -> Work:
        self.active += 1
        queue.batch.active += 1
        owner = queue.batch.owner
        self._active_of[owner] = self._active_of.get(owner, 0) + 1
        work.place = work.target.origin
        self._hosts.begin(work.place)
        return work

    def _parked(self, queue: _Queue, now: float) -> Work | None:
        for origin, works in tuple(queue.parked.items()):
            while works:
                work = works[0]
                failure = self._too_late(work, now)
                if failure is None and not self._hosts.room(origin, now):
                    break
                works.popleft()
                queue.waiting -= 1
                if not works:
                    del queue.parked[origin]
                if failure is None:
                    return work
                work.batch.source.failed(work.batch, work.index, failure, work.attempts, {})
        return None

    def _too_late(self, work: Work, now: float) -> Failure | None:
        """Say why a URL that waits for its host waits in vain."""
        if work.deadline <= now:
            return Failure("timeout", "its time was over before its turn")
        opens = self._hosts.opens_at(work.target.origin)
        if opens <= work.deadline:
            return None
        return Failure("unavailable", "its host is left alone for a while", round(opens - now, 3))

    def _fresh(self, queue: _Queue, now: float) -> Work | None:
        options, looks = queue.batch.options, _LOOKS
        while queue.batch.active + queue.waiting < options.concurrency:
            if not queue.ready:
                if looks <= 0:
                    self.held = True
                    return None
                if queue.next >= queue.batch.total:
                    return None
                looks -= _AHEAD
                self._look_ahead(queue)
                continue
            work = queue.ready.popleft()
            work.admitted, work.deadline = now, now + options.timeout
            if self._hosts.room(work.target.origin, now):
                return work
            if (failure := self._too_late(work, now)) is not None:
                looks -= 1
                work.batch.source.failed(work.batch, work.index, failure, work.attempts, {})
                continue
            queue.waiting += 1
            queue.parked.setdefault(work.target.origin, deque()).append(work)
        return None

    def _look_ahead(self, queue: _Queue) -> None:
        """Check the next few URLs; many in a row take a third of the time that each would take alone."""
        batch = queue.batch
        begin, queue.next = queue.next, min(queue.next + _AHEAD, batch.total)
        # A list of its own: the last rejection may end the batch and let its requests go.
        items: list[FetchRequest | str] = [*batch.items[begin : queue.next]]
        for index, item in enumerate(items, begin):
            request = item_of(item, self._limits)
            if isinstance(request, Failure):
                batch.source.failed(batch, index, request, 0, {})
                continue
            target = check_url(request.url, self._policy)
            if isinstance(target, Refusal):
                batch.source.failed(batch, index, Failure(target.kind, target.detail), 0, {})
            elif not batch.hosts.allows(target.host):
                batch.source.failed(batch, index, Failure("blocked", batch.hosts.refusal(target.host)), 0, {})
            else:
                queue.ready.append(Work(batch, index, request, target))
