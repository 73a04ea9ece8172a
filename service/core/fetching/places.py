"""Places upstream: how many fetches each owner has at once, and who leaves some to others."""

from typing import Final

from service.core.fetching.queues import OwnerState
from service.core.owner import Owner
from service.core.pool import Pool

__all__ = ["Places"]

_EAGER: Final = 9
"""One owner alone gets nine tenths of the places, and the next one finds some."""


class Places:
    """A pool of places; who had to leave some to others is remembered until places come free."""

    def __init__(self, bound: int) -> None:
        self.pool = Pool("upstream", bound, eager=_EAGER, strict=True)
        self._held_back: dict[Owner, None] = {}

    def __repr__(self) -> str:
        return f"<Places {self.pool!r}, {len(self._held_back)} held back>"

    def used_up(self, owner: OwnerState) -> bool:
        """Return whether an owner has all places that it may have now: of its own limit, and beside others."""
        if owner.active >= owner.share:
            return True
        free = self.pool.bound - self.pool.used
        # The first is a rough answer, since nearly always much is free.
        if owner.active < free * owner.name.weight or not owner.active or self.pool.room(owner.name) > 0:
            return False
        if owner.name not in self._held_back:
            self.pool.refused += 1
            self._held_back[owner.name] = None
        return True

    def take(self, owner: OwnerState) -> None:
        """Take a place."""
        owner.active += 1
        self.pool.take(owner.name, 1)

    def give_back(self, owner: OwnerState) -> Owner | None:
        """Give a place back; return who may have another look for that, if somebody was held back."""
        owner.active -= 1
        self.pool.give_back(owner.name, 1)
        if not self._held_back:
            return None
        name = next(iter(self._held_back))
        del self._held_back[name]
        return name
