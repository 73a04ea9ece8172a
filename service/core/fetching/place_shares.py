"""Places upstream: how many each owner has, and how many the owners of one network have together.

One client may have thousands of addresses: 65,536 that count as owners in an IPv6 /48, 256 in an IPv4 /24. So the
public addresses of one network share what one owner alone may have, and there each leaves some to the others
likewise. Owners with credentials have no network: who gives them out knows how many one client has.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from service.core.fetching.backlog import Backlog
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.core.pool import PoolStatistics

__all__ = ["OwnerState", "Shares"]

_EAGER: Final = 9
"""One owner alone gets nine tenths of the places, and the next one finds some; likewise one network."""
_LOOKS: Final = 16
"""How many owners that are held back are looked at for each place that becomes free."""


@dataclass(slots=True, eq=False)
class OwnerState:
    """What the plan knows of an owner."""

    name: Owner
    share: int
    active: int = 0
    """How many of its URLs have started, or are offered a place."""
    taken: int = 1
    """One more than the number of places that it has been given."""
    groups: int = 0
    backlogs: deque[Backlog] = field(default_factory=deque)
    """Groups that may admit URLs."""
    offers: deque[FetchTask] = field(default_factory=deque)
    blocked: dict[str, None] = field(default_factory=dict)
    """Hosts that had a place for it while it had all of its share."""
    in_turn: bool = False
    credit: int = 0
    """What is left of its turn."""
    begun: int = 0
    """URLs that it has begun since it last had nothing to fetch."""
    spent: int = 0
    """What it has spent since then; what was spent long ago counts less."""


class Shares:
    """``places`` for all owners, of which one may have ``most`` at once.

    The places are a strict pool (``core/pool.py``) whose owners are known already, since each URL takes a place of
    it. Owners that had to leave some to others are remembered until places become free.
    """

    def __init__(self, places: int, most: int, states: dict[Owner, OwnerState]) -> None:
        self.used = 0
        self.most = most
        self._states = states
        self._refused = 0
        self._networks: dict[str, int] = {}
        """Places that the owners of each network have."""
        self.held_back: OrderedDict[str, OrderedDict[Owner, None]] = OrderedDict()
        """Owners that leave places to others: a line for each network, and one for each owner without a network."""
        self._count = 0
        """The number of owners in ``held_back``."""
        self._paused: set[Owner] = set()
        self.resize(places)

    def __repr__(self) -> str:
        return f"<Shares {self.used} of {self.places}, {self._count} held back>"

    def resize(self, places: int) -> None:
        """Have fewer places while the service is overloaded, or all again."""
        self.places = places
        self.calm = places * _EAGER * _EAGER // (_EAGER * _EAGER + _EAGER + 1)
        """As long as fewer are used, nobody leaves any to others: one owner alone in its network has as many."""

    def used_up(self, owner: OwnerState) -> bool:
        """Return whether an owner may have no more places now: by its own limit, a pause, or beside others."""
        name = owner.name
        if owner.active >= owner.share or name in self._paused:
            return True
        if self.used < self.calm and name.weight >= 1:
            return False
        room = (self.places - self.used) * _EAGER
        if name.network and (neighbours := self._networks.get(name.network, 0)):
            room -= neighbours
            if room <= 0:
                return True
            room *= _EAGER
        return bool(owner.active) and owner.active >= int(room * name.weight)

    def lock_out(self, owner: OwnerState) -> str:
        """Say why an owner that has no place gets none."""
        network = owner.name.network
        if self._networks.get(network) and self.used_up(owner):
            return f"limit upstream: the clients of {network} have their share of {self.places}"
        return f"limit upstream: other clients have all {self.places} places"

    def holds_back(self, owner: OwnerState) -> bool:
        """Return whether an owner's places are used up, and remember it if it leaves some to others."""
        if used_up := self.used_up(owner):
            self.hold_back(owner)
        return used_up

    def hold_back(self, owner: OwnerState) -> None:
        """Remember an owner whose places are used up, if that is because it leaves some to others."""
        name = owner.name
        if owner.active >= owner.share or name in self._paused:
            return
        line = self.held_back.setdefault(name.witness, OrderedDict())
        if name not in line:
            self._refused += 1
            self._count += 1
            line[name] = None

    def pop_held_back(self) -> OwnerState | None:
        """Return an owner that was held back and may have a place now, if one of the next ``_LOOKS`` may.

        Networks take turns, and so do the owners of each: thousands in one network count as one.
        """
        for _ in range(min(self._count, _LOOKS)):
            key, line = self.held_back.popitem(last=False)
            name, _ = line.popitem(last=False)
            owner = self._states.get(name)
            if waits := owner is not None and self.used_up(owner):
                line[name] = None
            else:
                self._count -= 1
            if line:
                self.held_back[key] = line
            if owner is not None and not waits:
                return owner
        return None

    def pause(self, name: Owner) -> None:
        """Give an owner no more places until :meth:`resume`."""
        self._paused.add(name)

    def is_paused(self, name: Owner) -> bool:
        """Return whether an owner is paused."""
        return name in self._paused

    def resume(self, name: Owner) -> OwnerState | None:
        """End the pause of an owner; return what is known of it, if it has anything to fetch."""
        self._paused.remove(name)
        return self._states.get(name)

    def acquire(self, owner: OwnerState) -> None:
        """Count a place in."""
        owner.active += 1
        owner.taken += 1
        self.used += 1
        if network := owner.name.network:
            self._networks[network] = self._networks.get(network, 0) + 1

    def release(self, owner: OwnerState) -> None:
        """Count a place out."""
        owner.active -= 1
        self.used -= 1
        if network := owner.name.network:
            if left := self._networks[network] - 1:
                self._networks[network] = left
            else:
                del self._networks[network]

    def statistics(self) -> PoolStatistics:
        """Return an immutable snapshot."""
        active = [owner.active for owner in self._states.values() if owner.active]
        return PoolStatistics(self.places, self.used, len(active), max(active, default=0), self._refused)
