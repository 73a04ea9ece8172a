"""Places upstream: how many fetches each owner has at once, and who leaves some to others."""

from collections.abc import Mapping
from typing import Final

from service.core.fetching.queues import OwnerState
from service.core.owner import Owner
from service.core.pool import PoolStatistics, alone

__all__ = ["USUAL", "Places"]

_EAGER: Final = 9
"""One owner alone gets nine tenths of the places, and the next one finds some."""

USUAL: Final = 2
"""What the start of a request costs an owner of its turn: about 0.15 ms."""


class Places:
    """A strict pool (``core/pool.py``) whose owners are known already, since each URL takes a place of it.

    Who had to leave some to others is remembered until places come free.
    """

    def __init__(self, bound: int, owners: Mapping[Owner, OwnerState]) -> None:
        self.used = 0
        self._bound = bound
        self._owners = owners
        self._refused = 0
        self._calm = alone(bound, _EAGER)
        self._held_back: dict[Owner, None] = {}
        self._paused: set[Owner] = set()

    def __repr__(self) -> str:
        return f"<Places {self.used} of {self._bound}, {len(self._held_back)} held back>"

    @property
    def contended(self) -> bool:
        """Whether several owners have something to fetch, so that each waits for what is done for the others."""
        return len(self._owners) > 1

    def used_up(self, owner: OwnerState) -> bool:
        """Return whether an owner may have no more places now: by its own limit, a pause, or beside others."""
        if owner.active >= owner.share or owner.name in self._paused:
            return True
        if self.used < self._calm and owner.name.weight >= 1:
            return False
        if not owner.active or owner.active < int((self._bound - self.used) * _EAGER * owner.name.weight):
            return False
        if owner.name not in self._held_back:
            self._refused += 1
            self._held_back[owner.name] = None
        return True

    def charge(self, name: Owner, cost: int) -> None:
        """Have the next turns of an owner come later, one of whose requests took more than is usual."""
        if (owner := self._owners.get(name)) is not None:
            owner.credit -= cost

    def pause(self, name: Owner) -> None:
        """Give an owner no more places until :meth:`resume`."""
        self._paused.add(name)

    def is_paused(self, name: Owner) -> bool:
        """Return whether an owner is paused."""
        return name in self._paused

    def resume(self, name: Owner) -> None:
        """End the pause of an owner; it looks again for what it may start with ``FetchPlan.go_on``."""
        self._paused.remove(name)

    def take(self, owner: OwnerState) -> None:
        """Take a place."""
        owner.active += 1
        self.used += 1

    def give_back(self, owner: OwnerState) -> Owner | None:
        """Give a place back; return who may have another look for that, if somebody was held back."""
        owner.active -= 1
        self.used -= 1
        if not self._held_back:
            return None
        name = next(iter(self._held_back))
        del self._held_back[name]
        return name

    def statistics(self) -> PoolStatistics:
        """Return an immutable snapshot."""
        active = [owner.active for owner in self._owners.values() if owner.active]
        return PoolStatistics(self._bound, self.used, len(active), max(active, default=0), self._refused)
