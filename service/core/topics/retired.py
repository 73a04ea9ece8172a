"""Topics that nobody needs at the moment: their epoch and offset outlive them, so that who comes back can go on.

A topic whose last reader was away for two seconds would else begin anew: another epoch, and every client that
comes back learns that all it knew is void.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.core.topics.position import Position

__all__ = ["RetiredTopics"]

_AT_ONCE: Final = 1000
"""Topics that are forgotten at once, 2 us each, which is more than come in a second for long; 40,000 may be of one
age."""


class _Kept(NamedTuple):
    at: float
    position: Position
    owner: Owner


class RetiredTopics:
    """The positions of topics that were forgotten less than ``age`` seconds ago; at most ``most`` of them.

    An owner that has used up its share of them gives up the one of its own that has been idle longest.
    ``forgotten`` is called with the name of one that is forgotten so, or for its age.
    """

    def __init__(
        self,
        most: int,
        age: float,
        *,
        forgotten: Callable[[str], object] | None = None,
    ) -> None:
        self.pool = Pool("retired_topics", most, eager=FOUR_FIFTHS)
        self._age = age
        self._forgotten = forgotten
        # In order of time, because all are kept for the same time; the same order holds for each owner.
        self._known: OrderedDict[str, _Kept] = OrderedDict()
        self._names: dict[Owner, OrderedDict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def keep(self, name: str, position: Position, owner: Owner, now: float) -> None:
        """Remember where a topic stands that is about to be forgotten."""
        self.pop(name)
        names = self._names.get(owner)
        if names and self.pool.room(owner) < 1:
            self.pool.refused += 1
            self._forget(next(iter(names)))
        self._known[name] = _Kept(now, position, owner)
        self._names.setdefault(owner, OrderedDict())[name] = None
        self.pool.charge(owner, 1)

    def _forget(self, name: str) -> None:
        self.pop(name)
        if self._forgotten is not None:
            self._forgotten(name)

    def pop(self, name: str) -> Position | None:
        """Return where a topic stood, and forget it here: it is about to be made again."""
        known = self._known.pop(name, None)
        if known is None:
            return None
        names = self._names[known.owner]
        del names[name]
        if not names:
            del self._names[known.owner]
        self.pool.release(known.owner, 1)
        return known.position

    def expire(self, now: float) -> None:
        """Forget those whose time is over; not all where they are many."""
        for _ in range(min(_AT_ONCE, len(self._known))):
            name, kept = next(iter(self._known.items()))
            if now - kept.at <= self._age:
                return
            self._forget(name)
