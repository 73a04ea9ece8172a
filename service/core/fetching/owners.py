"""Owners of URLs: whose turn it is. How many places upstream each has is in ``place_shares.py``.

Owners that may have something to start stand in a ring and take turns, and their groups take turns likewise. An
owner with nothing to start leaves the ring until something changes: a turn costs the same however many wait.
"""

from typing import Final

from service.core.fetching.backlog import Backlog
from service.core.fetching.place_shares import OwnerState, Shares
from service.core.fetching.task import ENDED, LANDED, OFFERED, FetchGroup, FetchTask, Turn
from service.core.owner import Owner
from service.core.rotation import Rotation

__all__ = ["PER_BYTES", "USUAL", "Owners"]

USUAL: Final = 2
"""What the start of a request costs an owner of its turn: about 0.15 ms."""

_NEW: Final = 200
"""What an owner may spend as a newcomer: 1 for each URL that it begins, for each 16 KiB of answers, and for each
group that it adds while it has this many. Once it has nothing to fetch, it is a newcomer again."""
PER_BYTES: Final = 14
"""The power of two of those 16 KiB."""
_LIGHT: Final = 4
"""An owner that spends less than a quarter of what the heaviest spends counts as a newcomer."""
_HALVED: Final = 1600
"""When all owners together have spent this much, what each has spent so far is halved."""
_EXPECTED: Final = 128
"""URLs that others begin while a newcomer that has left is expected back: many come again and again."""
_FAVOUR: Final = 4
"""Turns of a newcomer for each turn of another owner: short work goes before long work."""


class Owners:
    """All owners and their groups; ``places`` is for all of them, ``most`` what one may have at once."""

    def __init__(self, places: int, most: int) -> None:
        self.contended = False
        """Whether several owners have something to fetch, or a newcomer is expected: each then waits for others."""
        self.states: dict[Owner, OwnerState] = {}
        self.shares = Shares(places, most, self.states)
        self.backlogs: dict[str, Backlog] = {}
        """By the id of their group."""
        self.turns: Rotation[OwnerState] = Rotation(USUAL)
        """Whose turn it is; fewer for owners whose requests cost more."""
        self._lasting = 0
        """Owners that have spent more than newcomers do."""
        self._bar = _NEW
        """How much that is: an owner that has spent this is no longer a newcomer."""
        self._spent = 0
        """By all, since what was spent before was halved."""
        self._expected = 0
        """URLs that those begin as if a newcomer were there."""

    def __repr__(self) -> str:
        return f"<Owners {len(self.states)}, {len(self.turns)} in turn, {self.shares!r}>"

    def add(self, group: FetchGroup) -> OwnerState:
        """Begin a group, which takes turns with others; return its owner's state."""
        owner = self.states.setdefault(group.owner, OwnerState(group.owner, 0))
        self._count_rivals()
        owner.groups += 1
        if owner.groups > _NEW:
            # Thousands of waiting polls or batches take long, however few of their URLs have begun.
            self._spend(owner, 1)
        # The share in the owner's newest credentials holds for all of its groups.
        owner.share = group.share or self.shares.most
        self.backlogs[group.id] = backlog = Backlog(group)
        self.enter_backlog(backlog)
        return owner

    def remove(self, group: FetchGroup) -> None:
        """Forget a group, and its owner with its last one."""
        if (backlog := self.backlogs.pop(group.id, None)) is not None:
            backlog.gone = True
            owner = self.states[group.owner]
            owner.groups -= 1
            self.forget_unused(owner)

    def enter_backlog(self, backlog: Backlog) -> None:
        """Have a group take turns, if it has URLs that have not begun."""
        if not backlog.in_turn and backlog.left:
            backlog.in_turn, backlog.locked_out = True, 0
            owner = self.states[backlog.group.owner]
            owner.backlogs.append(backlog)
            self.enter(owner)

    def landed(self, task: FetchTask) -> None:
        """Have the outcome of a URL make room for another of its group, if that is not gone."""
        if task.state is ENDED:
            return
        task.move(LANDED)
        if (backlog := self.backlogs.get(task.group.id)) is not None and not backlog.in_turn:
            self.enter_backlog(backlog)

    def enter(self, owner: OwnerState) -> None:
        """Have an owner take turns."""
        if not owner.in_turn:
            owner.in_turn = True
            self.turns.enter(owner)

    def next_turn(self) -> Turn | FetchTask | None:
        """Return what the next owner may start, or None for one that leaves the ring.

        A URL that is offered a place goes before one that has not begun; one that is tried again has been admitted.
        """
        owner = self.turns.first
        while owner.offers:
            task = owner.offers.popleft()
            if task.state is OFFERED:
                return task if task.attempts else Turn(task.group, task)
        if not (owner.backlogs and self.shares.holds_back(owner)):
            while owner.backlogs:
                if owner.backlogs[0].open:
                    return owner.backlogs[0].turn
                owner.backlogs.popleft().in_turn = False
        self.turns.leave()
        owner.in_turn = False
        return None

    def unrivalled(self, group: FetchGroup) -> Backlog | None:
        """Return the backlog of a group where no other group wants a turn, or waits for one."""
        owner, backlog = self.states[group.owner], self.backlogs.get(group.id)
        if backlog is None or len(self.turns) != owner.in_turn or len(owner.backlogs) != backlog.in_turn:
            return None
        shares = self.shares
        if owner.offers or owner.blocked or shares.held_back or owner.active > owner.share:
            return None
        if shares.is_paused(owner.name) or shares.used > shares.calm:
            return None
        return backlog if owner.name.weight >= 1 else None

    def passed(self, owner: OwnerState, *, backlog: bool = False) -> None:
        """Count a turn of an owner, and of its first group where it was that one's: the others come first now."""
        if backlog:
            owner.backlogs.rotate(-1)
        self.count_start(owner)
        if owner.in_turn and self.turns.first is owner and not owner.begun % self.favour(owner.name):
            self.turns.spend(USUAL)

    def count_start(self, owner: OwnerState) -> None:
        """Count a URL that an owner begins."""
        owner.begun += 1
        self._spend(owner, 1)
        if self._expected and owner.spent >= self._bar:
            self._expected -= 1
            self._count_rivals()

    def spend(self, name: Owner, units: int) -> None:
        """Count what answers took that an owner was given; one that is gone has nothing to pay any more."""
        if (owner := self.states.get(name)) is not None:
            self._spend(owner, units)

    def _spend(self, owner: OwnerState, units: int) -> None:
        self._lasting += owner.spent < self._bar <= owner.spent + units
        owner.spent += units
        self._spent += units
        if self._spent >= _HALVED:
            self._halve()

    def _halve(self) -> None:
        self._spent = 0
        for owner in self.states.values():
            owner.spent //= 2
        # Until it is halved again, what each has spent doubles.
        self._bar = max(_NEW, 2 * max(owner.spent for owner in self.states.values()) // _LIGHT)
        self._lasting = sum(owner.spent >= self._bar for owner in self.states.values())

    def favour(self, name: Owner) -> int:
        """Return how many turns an owner has while one that has fetched for long has one."""
        owner = self.states.get(name)
        return _FAVOUR if self._lasting and owner is not None and owner.spent < self._bar else 1

    def hold(self, group: FetchGroup) -> None:
        """Have the group whose turn it is take none until it is entered again."""
        owner = self.states.get(group.owner)
        if owner is not None and owner.backlogs and owner.backlogs[0].group is group:
            owner.backlogs.popleft().in_turn = False

    def gives_way(self, name: Owner) -> bool:
        """Return whether an owner has fetched for long while a newcomer fetches too, or has a moment ago."""
        owner = self.states.get(name)
        rivalled = self._expected or len(self.states) > self._lasting
        return owner is not None and owner.spent >= self._bar and bool(rivalled)

    def charge(self, name: Owner, cost: int) -> None:
        """Have the next turns of an owner come later, one of whose requests took more than is usual."""
        if (owner := self.states.get(name)) is not None:
            owner.credit -= cost

    def forget_unused(self, owner: OwnerState) -> None:
        """Forget an owner that has nothing any more."""
        if not owner.groups and not owner.active and self.states.get(owner.name) is owner:
            del self.states[owner.name]
            if owner.spent >= self._bar:
                self._lasting -= 1
            elif owner.begun:
                self._expected = _EXPECTED
            if not self.states:
                self._bar, self._spent = _NEW, 0
            self._count_rivals()

    def _count_rivals(self) -> None:
        self.contended = len(self.states) > 1 or bool(self._expected and self._lasting)
