"""Who may start now: fair between clients, bounded over all, for each batch and for each host.

Theory of operation. Owners (clients) that may have something to start stand in a ring and take turns, one start
each, fewer where theirs cost more, and none has more than its share at once; an owner's batches take turns, too.
An owner with nothing to start leaves the ring until something changes: a step costs the same however much waits.

A URL goes through these states; its clock starts when it is admitted:

    not looked at ──► ready ──(admitted)──► started ──► finished, or later (a retry) ─┐
                                  │            ▲                                      │
                                  ▼            │ its owner's turn                     │
                                parked ──► offered: has a place at its host ◄─────────┘

A batch admits at most ``concurrency`` URLs at once, and asks its source before each, and again before one starts
that has waited: then it waits on, or fails, with its batch. A URL whose host is full is parked; a place that comes
free is offered to the owners that wait there in turns. Deadlines of what waits are part of
:meth:`FetchPlan.wake_at`. A URL whose host is left alone for longer than it has time is ``unavailable`` at once.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf

from service.core.fetching.batch import BatchLimits, Failure
from service.core.fetching.clocked import Clocked
from service.core.fetching.dial_policy import Policy
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.parking import Parking
from service.core.fetching.places import USUAL, Places
from service.core.fetching.queues import AGAIN, OwnerState, Queue, ask, look_ahead, may_go_on, too_late, unavailable
from service.core.fetching.task import INTERNAL, FetchGroup, FetchTask, Rejection
from service.core.owner import Owner
from service.core.rotation import Rotation

__all__ = ["FetchPlan"]


class FetchPlan:
    """All URLs that wait. Pure: it answers with what starts and what is rejected; the caller does either."""

    def __init__(self, limits: BatchLimits, policy: Policy, hosts: HostLimiter) -> None:
        self.active = 0
        self.places = limits.active
        """How many may be active; fewer while the service is overloaded."""
        self._owners: dict[Owner, OwnerState] = {}
        self.shares = Places(limits.active, self._owners)
        """Who has how many of them, or is offered one."""
        self._limits = limits
        self._policy = policy
        self._hosts = hosts
        self._turns: Rotation[OwnerState] = Rotation(USUAL)
        self._queues: dict[str, Queue] = {}
        self.parking = Parking()
        self.clocked = Clocked()
        hosts.waited_for = self.parking.hosts
        self._rejected: deque[Rejection] = deque()
        self._later: list[tuple[float, int, FetchTask]] = []
        self._count = 0

    def __repr__(self) -> str:
        return f"<FetchPlan {self.active} active, {len(self._queues)} batches, {self.parking!r}>"

    def wake_at(self) -> float:
        """Return when something changes by itself: a retry is due, a deadline or the end of a pause comes."""
        return min(self._hosts.wake_at(), self.parking.next_deadline(), self._later[0][0] if self._later else inf)

    def add(self, batch: FetchGroup) -> None:
        """Take in a batch."""
        owner = self._owners.setdefault(batch.owner, OwnerState(batch.owner, 0))
        owner.batches += 1
        # What the owner's newest credentials say holds for all that it has.
        owner.share = batch.share or self._limits.active_per_client
        self._queues[batch.id] = Queue(batch)
        self.wake(batch)

    def remove(self, batch: FetchGroup) -> None:
        """Start nothing of this batch any more."""
        self.clocked.forget(batch)
        if (queue := self._queues.pop(batch.id, None)) is None:
            return
        queue.gone = True
        for work in tuple(queue.waiting):
            self._withdraw(queue, work)
        owner = self._owners[batch.owner]
        owner.batches -= 1
        self._forget_unused(owner)

    def wake(self, batch: FetchGroup) -> None:
        """Ask the source of a batch again whether it may go on."""
        if (queue := self._queues.get(batch.id)) is not None:
            self._enter(queue)

    def go_on(self, name: Owner) -> None:
        """Have an owner look again at what it may start."""
        if (owner := self._owners.get(name)) is not None:
            self._unblock(owner)
            if owner.queues or owner.offers:
                self._enter_owner(owner)

    def next(self, now: float) -> FetchTask | Rejection | None:
        """Return what starts now or never will; for what starts, call :meth:`free` and :meth:`finished` later."""
        if not self._rejected:
            self._look(now)
        while not self._rejected:
            if self.active >= self.places or not self._turns:
                return None
            owner = self._turns.first
            work = self._of_owner(owner, now)
            if work is None and not self._rejected:
                self._turns.leave()
                owner.in_turn = False
                continue
            self._turns.spend(USUAL)
            if work is not None:
                self.active += 1
                work.start()
                return work
        return self._rejected.popleft()

    def free(self, work: FetchTask) -> None:
        """Free the place upstream of a URL: its request has ended, or it waits for one that another began."""
        self.active -= 1
        self._release(work)

    def finished(self, work: FetchTask) -> None:
        """Free the place of a URL in its batch."""
        work.batch.active -= 1
        work.stop()
        if (queue := self._queues.get(work.batch.id)) is not None and not queue.in_turn:
            self._enter(queue)

    def drop(self, work: FetchTask) -> None:
        """Give up a URL that waits to start."""
        self._withdraw(self._queues[work.batch.id], work)
        self.finished(work)

    def later(self, work: FetchTask, at: float) -> None:
        """Have a URL that has no places any more return at ``at``, before its deadline."""
        if work.batch.id in self._queues:
            work.batch.active += 1
            self._count += 1
            heappush(self._later, (at, self._count, work))

    def _look(self, now: float) -> None:
        """Take note of what has changed by itself, and of places that came free."""
        while self._later and self._later[0][0] <= now:
            work = heappop(self._later)[2]
            if (queue := self._queues.get(work.batch.id)) and self._admit(queue, work, now):
                queue.waiting[work] = None
                self.parking.watch(work)
                self._offer(work)
        for work in self.parking.late(now) if self.parking.waiting else ():
            self._reject(work, Failure("timeout", "its time was over before its turn"))
        for origin in (*self._hosts.opened(now), *self.parking.unfinished(now)):
            try:
                self._fill(origin, now)
            except Exception as error:
                for work in self.parking.at(origin):
                    self._reject(work, INTERNAL, error)

    def _of_owner(self, owner: OwnerState, now: float) -> FetchTask | None:
        while True:
            while owner.offers:
                work = owner.offers.popleft()
                verdict = may_go_on(work) if work.waiting else None
                if verdict is True:
                    self.parking.leave(work)
                    del self._queues[work.batch.id].waiting[work]
                    return work
                if verdict:
                    self._reject(work, verdict)
                elif verdict is False:
                    self.drop(work)
                    self.later(work, min(now + AGAIN, work.deadline))
            if not owner.queues or self.shares.used_up(owner):
                return None
            queue = owner.queues[0]
            starts = None if queue.gone else self._of_batch(queue, now)
            if starts is not None or self._rejected:
                owner.queues.rotate(-1)
                return starts
            owner.queues.popleft()
            queue.in_turn = False

    def _of_batch(self, queue: Queue, now: float) -> FetchTask | None:
        """Admit URLs until one of them starts."""
        batch, options = queue.batch, queue.batch.options
        while batch.active < options.concurrency and (queue.ready or queue.next < batch.total):
            verdict = ask(queue)
            if verdict is not True:
                self._rejected += verdict
                return None
            if not queue.ready:
                self._rejected += look_ahead(queue, self._limits, self._policy)
                if self._rejected:
                    return None
            work = queue.ready.popleft()
            work.admitted, work.deadline = now, now + options.timeout
            batch.active += 1
            self.clocked.begin(work)
            if self._admit(queue, work, now):
                return work
        return None

    def _admit(self, queue: Queue, work: FetchTask, now: float) -> bool:
        """Give a URL a place at its host, or have it wait for one, or reject it; return whether it has one."""
        try:
            origin, owner = work.target.origin, self._owners[work.batch.owner]
            crowded, full = origin in self.parking.hosts, self.shares.used_up(owner)
            if not crowded and not full and self._hosts.room(origin, now, owner.name):
                self._reserve(owner, work)
                return True
            self._park(queue, work, now, offered=crowded or full)
        except Exception as error:  # the state of its host is odd: it fails alone
            queue.waiting[work] = None
            self._reject(work, INTERNAL, error)
        return False

    def _park(self, queue: Queue, work: FetchTask, now: float, *, offered: bool) -> None:
        queue.waiting[work] = None
        behind = self.parking.add(work)
        opens = self._hosts.opens_for(work.target.origin, work.batch.owner, now)
        if (failure := too_late(work, opens, now)) is not None:
            self._reject(work, failure)
        elif not behind and offered:
            # Those who wait already may be at their share, and this one not; or it is to be offered it later.
            self._fill(work.target.origin, now)

    def _fill(self, origin: str, now: float) -> None:
        """Offer the places that a host has to those who wait there."""
        opens = self._hosts.opens_at(origin)
        if opens > now:
            for work in self.parking.hopeless(origin, opens, now):
                self._reject(work, unavailable(opens, now))
            return
        while self._hosts.room(origin, now) and (first := self.parking.turn(origin, now, self._may_have)):
            self._reserve(self._owners[first.batch.owner], first)
            self._offer(first)

    def _may_have(self, name: Owner, origin: str, now: float) -> bool:
        owner = self._owners[name]
        if self.shares.used_up(owner):
            owner.blocked[origin] = None
            return False
        return self._hosts.room(origin, now, name)

    def _offer(self, work: FetchTask) -> None:
        self._owners[work.batch.owner].offers.append(work)
        self._enter_owner(self._owners[work.batch.owner])

    def _reserve(self, owner: OwnerState, work: FetchTask) -> None:
        self.shares.take(owner)
        work.place = work.target.origin
        self._hosts.begin(work.place, owner.name)

    def _release(self, work: FetchTask) -> None:
        """Give back a URL's place at its host and in its owner's share."""
        owner = self._owners[work.batch.owner]
        held_back = self.shares.give_back(owner)
        if work.place:
            self._hosts.end(work.place, owner.name)
            work.place = ""
        self.go_on(owner.name)
        if held_back is not None:
            self.go_on(held_back)
        self._forget_unused(owner)

    def _unblock(self, owner: OwnerState) -> None:
        """Have a place offered to an owner that was passed over while it had its share."""
        while owner.blocked and not self.shares.used_up(owner):
            origin, _ = owner.blocked.popitem()
            if origin in self.parking.hosts:
                self._hosts.reopen(origin)
                return

    def _withdraw(self, queue: Queue, work: FetchTask) -> None:
        del queue.waiting[work]
        self.parking.leave(work)
        if work.place:
            self._release(work)

    def _reject(self, work: FetchTask, failure: Failure, error: Exception | None = None) -> None:
        self.drop(work)
        self._rejected.append(Rejection(work.batch, work.index, failure, work.attempts, error))

    def _enter(self, queue: Queue) -> None:
        if not queue.in_turn and (queue.ready or queue.next < queue.batch.total):
            queue.in_turn = True
            self._owners[queue.batch.owner].queues.append(queue)
            self._enter_owner(self._owners[queue.batch.owner])

    def _enter_owner(self, owner: OwnerState) -> None:
        if not owner.in_turn:
            owner.in_turn = True
            self._turns.enter(owner)

    def _forget_unused(self, owner: OwnerState) -> None:
        if not owner.batches and not owner.active and self._owners.get(owner.name) is owner:
            del self._owners[owner.name]
