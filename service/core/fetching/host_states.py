"""The states of hosts in trouble, as many as there is room for: those of one owner make no room for another's.

A host whose state is forgotten is asked at once, and its budget of retries is full. So an owner that meets trouble
at thousands of hosts must not have the service forget what others have met. A state counts for the owner that
brought it about, even if it holds for everybody. Beyond the bound, the owner that has most of them (within a factor
of two) loses the one in which nothing has happened for longest.
"""

from collections import OrderedDict
from typing import Final

from service.core.fetching.backoff import Backoff
from service.core.owner import Owner
from service.core.ranking import OwnerRanking

__all__ = ["HostKey", "HostStates"]

HostKey = tuple[str, Owner | None]
"""A host by its origin, for everybody or for one owner."""

_MOST: Final = 10_000


class HostStates:
    """All hosts in trouble, each for one owner or for everybody."""

    def __init__(self) -> None:
        self.by_key: dict[HostKey, Backoff] = {}
        """To be read; :meth:`get` and :meth:`forget` change it."""
        self._held_by: dict[HostKey, Owner] = {}
        self._of: dict[Owner, OrderedDict[HostKey, None]] = {}
        self._ranking = OwnerRanking(lambda owner: len(self._of[owner]))

    def __repr__(self) -> str:
        return f"<HostStates {len(self.by_key)} of {len(self._of)} owners>"

    def get(self, key: HostKey, owner: Owner, fresh: Backoff) -> Backoff:
        """Return the state of a host where an owner makes something happen: a ``fresh`` one if it has none."""
        state = self.by_key.get(key)
        if state is not None:
            self._of[self._held_by[key]].move_to_end(key)
            return state
        if len(self.by_key) >= _MOST:
            self.forget(next(iter(self._of[self._ranking.top()])))
        self.by_key[key], self._held_by[key] = fresh, owner
        self._of.setdefault(owner, OrderedDict())[key] = None
        self._ranking.changed[owner] = None
        return fresh

    def forget(self, key: HostKey) -> None:
        """Forget a host that is well again."""
        owner = self._held_by.pop(key)
        del self.by_key[key]
        held = self._of[owner]
        del held[key]
        if held:
            self._ranking.changed[owner] = None
        else:
            del self._of[owner]
            self._ranking.forget(owner)
