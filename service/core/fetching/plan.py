"""Which URL starts next: fair between clients, bounded over all, for each group and for each host.

Theory of operation. The plan decides and calls nobody: :meth:`FetchPlan.next` returns what to do, and its caller
does it. Owners (clients) take turns, and none has more than its share at once (``owners.py``).

A URL goes through the states of ``task.py``. A group has at most ``concurrency`` URLs on the clock. Before one is
put on it, and before one starts that has waited, the group has a :class:`Turn`: the caller asks its listener, and
has the plan start one, hold the group back, or refuse. A URL whose host is full is parked; a place that comes free
is offered to the owners that wait there in turns. Deadlines of what waits are part of :meth:`FetchPlan.wake_at`. A
URL whose host is left alone for longer than it has time is ``unavailable`` at once.
"""

from collections import deque
from heapq import heappop, heappush
from itertools import chain, count
from math import inf
from typing import Final

from service.core.fetching.backlog import AdmittedTasks
from service.core.fetching.batch import BatchLimits
from service.core.fetching.dial_policy import Policy
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.lock_outs import LockOuts
from service.core.fetching.outcome import INTERNAL, Failure
from service.core.fetching.owners import Owners
from service.core.fetching.parking import Parking, too_late, unavailable
from service.core.fetching.place_shares import OwnerState
from service.core.fetching.task import OFFERED, PARKED, RETRY, RUNNING, FetchGroup, FetchTask, Rejection, Turn
from service.core.owner import Owner

__all__ = ["Decision", "FetchPlan"]

Decision = FetchTask | Turn | Rejection | float
"""Start this URL; ask the listener of this group whether it may start one; this URL fails; or nothing, until this
time comes or something changes."""

_AGAIN: Final = 0.25
"""Seconds after which a URL asks again that has given up its place because its group is held back."""


class FetchPlan:
    """All URLs that wait; ``now`` must not go back. A bug rejects what it happened to."""

    def __init__(self, limits: BatchLimits, policy: Policy, hosts: HostLimiter) -> None:
        self.active = 0
        self.owners = Owners(limits.active, limits.active_per_client)
        self.shares = self.owners.shares
        self._lock_outs = LockOuts(self.owners)
        self.landed = self.owners.landed
        """Frees the place of a URL in its group: its outcome is here."""
        self._limits, self._policy, self._hosts = limits, policy, hosts
        self.parking, self.admitted = Parking(), AdmittedTasks()
        hosts.waited_for = self.parking.hosts
        self._rejected: deque[Rejection] = deque()
        self._retries: list[tuple[float, int, FetchTask]] = []
        self._numbers = count()

    def __repr__(self) -> str:
        return f"<FetchPlan {self.active} active, {len(self.owners.backlogs)} groups, {self.parking!r}>"

    def wake_at(self) -> float:
        """Return when something changes by itself: a retry, a look, a deadline or the end of a pause is due."""
        retry = self._retries[0][0] if self._retries else inf
        parked = self.parking.next_deadline() if self.parking.waiting else inf
        return min(self._hosts.wake_at(), parked, retry, self._lock_outs.look_at())

    def add(self, group: FetchGroup) -> None:
        """Begin a group; its credentials may change its owner's share, which may let other groups go on."""
        self._go_on(self.owners.add(group))

    def remove(self, group: FetchGroup) -> None:
        """Start nothing of this group any more: all of its URLs end."""
        for task in self.admitted.of(group):
            if task.waiting:
                self.drop(task)
        self.owners.remove(group)
        self.admitted.forget(group)

    def wake(self, group: FetchGroup) -> None:
        """Give a group a turn again that was held back."""
        if (backlog := self.owners.backlogs.get(group.id)) is not None:
            self.owners.enter_backlog(backlog)

    def resume(self, name: Owner) -> None:
        """End the pause of an owner: it looks again for what it may start."""
        if (owner := self.shares.resume(name)) is not None:
            self._go_on(owner)

    def next(self, now: float) -> Decision:
        """Return what to do now: a :class:`Turn` is answered by start, hold or refuse before the next call."""
        if not self._rejected and (self._retries or self.parking.waiting or self._hosts.pauses):
            self._advance(now)
        while not self._rejected and self.active < self.shares.places:
            if self.owners.turns and (found := self.owners.next_turn()) is not None:
                return self._begin(found) if isinstance(found, FetchTask) else found
            # The owner that was woken for the last place may have had nothing to start.
            if (other := self.shares.pop_held_back()) is not None:
                self._go_on(other)
                self._advance(now)
            elif not self.owners.turns:
                break
        if not self._rejected:
            self._rejected += self._lock_outs.pop_late(self.active, now)
        return self._rejected.popleft() if self._rejected else self.wake_at()

    def start(self, turn: Turn, now: float) -> FetchTask | None:
        """Use a turn: return the URL that starts (:meth:`free` and :meth:`landed` follow), or None."""
        backlog, task = self.owners.backlogs.get(turn.group.id), turn.task
        if backlog is None:
            return None
        if task is not None:
            return self._begin(task) if task.state is OFFERED else None
        if not backlog.ready:
            self._rejected += backlog.check_ahead(self._limits, self._policy)
        owner = self.owners.states[turn.group.owner]
        if not self._rejected and backlog.ready:
            task = backlog.begin_next(now)
            self.admitted.begin(task)
            if self._admit(task, now):
                owner.backlogs.rotate(-1)
                return self._begin(task)
        if self._rejected:
            self.owners.passed(owner, backlog=True)
        return None

    def successor(self, ended: FetchTask, now: float) -> Turn | None:
        """Return the turn of a group whose next URL may have the place of one that ends: nobody else waits for it.

        It is used by :meth:`hand_on` once that URL has landed. Without one, the place is freed.
        """
        due = (self._retries or self.parking.waiting or self._hosts.pauses) and self.wake_at() <= now
        if due or self._rejected or self.active > self.shares.places:
            return None
        backlog = self.owners.unrivalled(ended.group)
        if backlog is None or not backlog.ready or backlog.ready[0].target.origin != ended.place:
            return None
        return backlog.turn if self._hosts.hands_on(ended.place, ended.group.owner) else None

    def hand_on(self, turn: Turn, landed: FetchTask, now: float) -> FetchTask | None:
        """Start the next URL of a group in the place of one that has landed, if it is not gone or paused since."""
        backlog = self.owners.backlogs.get(turn.group.id)
        if backlog is None or self.shares.is_paused(turn.group.owner):
            return None
        task = backlog.begin_next(now)
        self.admitted.begin(task)
        self.owners.count_start(self.owners.states[turn.group.owner])
        task.place, landed.place = landed.place, ""
        task.move(RUNNING)
        return task

    def hold(self, turn: Turn, now: float) -> None:
        """Give a turn back: the group has none until it is woken, or one of its URLs has landed."""
        if turn.task is None:
            self.owners.hold(turn.group)
        elif turn.task.waiting:
            self.drop(turn.task)
            self.retry(turn.task, min(now + _AGAIN, turn.task.deadline))

    def refuse(self, turn: Turn, failure: Failure, error: Exception | None = None) -> None:
        """Reject the URL whose turn it is, or the next ones of its group; the next alone for a bug."""
        backlog, task = self.owners.backlogs.get(turn.group.id), turn.task
        if backlog is None:
            return
        if task is None:
            self._rejected += backlog.refuse(failure, error)
        elif task.waiting:
            self._reject(task, failure, error)
        self.owners.passed(self.owners.states[turn.group.owner], backlog=task is None)

    def free(self, task: FetchTask) -> None:
        """Free the place upstream of a URL: its request has ended, or it waits for one that another began."""
        self.active -= 1
        self._release(task)

    def drop(self, task: FetchTask) -> None:
        """Give up a URL that has not started, or not again."""
        waited = task.waiting
        self.owners.landed(task)
        if waited:
            self.parking.left(task)
        if task.place:
            self._release(task)

    def retry(self, task: FetchTask, at: float) -> None:
        """Have a URL that has landed return at ``at``, before its deadline; not where its group is gone."""
        if task.group.id in self.owners.backlogs:
            task.move(RETRY)
            heappush(self._retries, (at, next(self._numbers), task))

    def _advance(self, now: float) -> None:
        """Do what has become due by itself, and offer places that came free."""
        while self._retries and self._retries[0][0] <= now:
            task = heappop(self._retries)[2]
            if task.state is RETRY and self._admit(task, now):
                self._offer(task)
                self.parking.watch(task)
        for task in self.parking.pop_late(now) if self.parking.waiting else ():
            self._reject(task, Failure("timeout", "timed out before its turn"))
        for pause in self._hosts.pop_shut():
            self.parking.shut(*pause)
        opened = chain(self._hosts.pop_opened(now), self.parking.pop_unfinished(now))
        for origin in chain(opened, self.parking.pop_reopened(self.shares.holds_back, self._hosts.has_place, now)):
            try:
                self._fill(origin, now)
            except Exception as error:
                for task in self.parking.at(origin):
                    self._reject(task, INTERNAL, error)

    def _begin(self, task: FetchTask) -> FetchTask:
        waited = task.state is OFFERED
        task.move(RUNNING)
        if waited:
            self.parking.left(task)
        self.active += 1
        self.owners.passed(self.owners.states[task.group.owner])
        return task

    def _admit(self, task: FetchTask, now: float) -> bool:
        """Give a URL a place at its host, or have it wait for one, or reject it; return whether it has one."""
        try:
            origin, owner = task.target.origin, self.owners.states[task.group.owner]
            crowded, full = origin in self.parking.hosts, self.shares.holds_back(owner)
            if not crowded and not full and self._hosts.has_place(origin, now, owner.name):
                self._reserve(owner, task)
                return True
            self._park(task, now, offered=crowded or full)
        except Exception as error:  # the state of its host is odd: it fails alone
            self._reject(task, INTERNAL, error)
        return False

    def _park(self, task: FetchTask, now: float, *, offered: bool) -> None:
        task.move(PARKED)
        behind = self.parking.add(task)
        if not offered:
            self._hosts.count_refusal(task.target.origin, now)
        opens = self._hosts.opens_for(task.target.origin, task.group.owner)
        if (failure := too_late(task, opens, now)) is not None:
            self._reject(task, failure)
        elif not behind and offered:
            # Those who wait already may be at their share, and this one not; or it is to be offered it later.
            self._fill(task.target.origin, now)

    def _fill(self, origin: str, now: float) -> None:
        """Offer the places that a host has to those who wait there."""
        if (opens := self._hosts.opens_at(origin)) > now:
            self.parking.shut(origin, opens)
        for task, until in self.parking.pop_hopeless(origin, now):
            self._reject(task, unavailable(until, now))
        while self._hosts.has_place(origin, now) and (first := self.parking.pop_first(origin, now, self._try)):
            self._reserve(self.owners.states[first.group.owner], first)
            self._offer(first)

    def _try(self, name: Owner, origin: str, now: float) -> bool:
        owner = self.owners.states[name]
        if self.shares.holds_back(owner):
            owner.blocked[origin] = None
            return False
        if not (free := self._hosts.has_place(origin, now, name)):
            self._hosts.count_refusal(origin, now)
        return free

    def _offer(self, task: FetchTask) -> None:
        task.move(OFFERED)
        owner = self.owners.states[task.group.owner]
        owner.offers.append(task)
        self.owners.enter(owner)

    def _reserve(self, owner: OwnerState, task: FetchTask) -> None:
        self.shares.acquire(owner)
        task.place = task.target.origin
        self._hosts.begin(task.place, owner.name)

    def _release(self, task: FetchTask) -> None:
        """Give back a URL's place at its host and in its owner's share."""
        owner = self.owners.states[task.group.owner]
        self.shares.release(owner)
        if task.place:
            self._hosts.end(task.place, owner.name)
            task.place = ""
        self.released(owner)

    def released(self, owner: OwnerState) -> None:
        """Have those go on that may since an owner has a place less."""
        if owner.blocked or not owner.in_turn:
            self._go_on(owner)
        if (other := self.shares.pop_held_back()) is not None:
            self._go_on(other)
        if not owner.groups:
            self.owners.forget_unused(owner)

    def _go_on(self, owner: OwnerState) -> None:
        """Have an owner look again at what it may start, and at places that came free while it had its share."""
        if owner.blocked:
            self.parking.look_again(owner)
        if not owner.in_turn and (owner.backlogs or owner.offers):
            self.owners.enter(owner)

    def _reject(self, task: FetchTask, failure: Failure, error: Exception | None = None) -> None:
        self.drop(task)
        self._rejected.append(Rejection(task.group, task.index, failure, task.attempts, error))
