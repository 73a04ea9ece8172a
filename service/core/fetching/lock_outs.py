"""Owners that get no place at all because others have them: their URLs fail in time.

The time of a URL starts when it leaves the backlog of its group, since a client may ask for thousands at once and
has a few at a time. A client that has a place waits for its own URLs. One that has none waits for those of others,
which may take minutes: its URLs fail as if their time had started when their group first wanted a place.

Groups are looked through at intervals, so that those which get a place cost nothing here.
"""

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Final

from service.core.fetching.backlog import Backlog
from service.core.fetching.outcome import Failure
from service.core.fetching.owners import Owners
from service.core.fetching.place_shares import OwnerState
from service.core.fetching.task import Rejection

__all__ = ["LockOuts"]

_EVERY: Final = 0.25
"""Seconds between two looks: a URL fails half a second after its time at the latest."""
_LOOKS: Final = 1000
"""Groups in one part of a look, which takes 0.1 ms."""
_PAUSE: Final = 0.001
"""Seconds between two parts of a look."""


class LockOuts:
    """Looks at all groups whose owner has no place, while there may be some."""

    def __init__(self, owners: Owners) -> None:
        self._owners, self._shares = owners, owners.shares
        self._next = 0.0
        self._due = False
        """Whether the next look may find something: the last one did, or something has changed since."""
        self._found = False
        """Whether this look, of which there may be several parts, has found some."""
        self._look = self._groups()

    def __repr__(self) -> str:
        return f"<LockOuts, next look at {self._next:.3f}>"

    def look_at(self) -> float:
        """Return when to look next; infinity where nobody is locked out."""
        return self._next if self._due else inf

    def pop_late(self, active: int, now: float) -> list[Rejection]:
        """Return the URLs whose time is over, while so many are active, whenever something may have changed.

        They are as many of a group as would have been on the clock.
        """
        late: list[Rejection] = []
        self._due = bool(self._shares.held_back or (self._owners.turns and active >= self._shares.places))
        if not self._due or now < self._next:
            return late
        some = [*islice(self._look, _LOOKS)]
        self._found = self._found or bool(some)
        for owner, backlog in some:
            if owner.active or not backlog.open:
                continue
            if backlog.locked_out != owner.taken:
                backlog.locked_out, backlog.locked_out_at = owner.taken, now
            elif now - backlog.locked_out_at >= (options := backlog.group.options).timeout:
                failure = Failure("timeout", f"timed out before its turn: {self._shares.lock_out(owner)}")
                late += backlog.refuse(failure, most=options.concurrency - backlog.group.active)
                backlog.locked_out_at = now
        if len(some) == _LOOKS:
            self._next = now + _PAUSE
        else:
            self._look, self._next = self._groups(), now + _EVERY
            self._due, self._found = self._found, False
        return late

    def _groups(self) -> Iterator[tuple[OwnerState, Backlog]]:
        for owner in tuple(self._owners.states.values()):
            if not owner.active and not self._shares.is_paused(owner.name):
                for backlog in tuple(owner.backlogs):
                    yield owner, backlog
