"""Messages that the store has not answered for yet: how many of which topic, and how much memory they hold.

A store that is slower than its publishers answers them later. What waits for it is bounded: beyond that, publishes
are refused; what the service itself appends is counted in, and its sources stop for as long as there is no room.
"""

from typing import Final

from service.core.errors import Overloaded
from service.core.owner import Owner
from service.core.pool import Pool, alone

__all__ = ["PendingAppends"]

_EACH: Final = 1024
"""Bytes that a message holds beside its data while it waits: closures, the request's id, the answer."""


_RESERVED: Final = 4
"""How many times what an owner holds it must have room for, if its sources are to go on: much is on its way."""


class PendingAppends:
    """What is on its way to the store."""

    def __init__(self, bound: int) -> None:
        self.pool = Pool("unstored", bound, error=Overloaded, advice="the store is slower than its publishers")
        self._calm = alone(bound, 1)
        # Not a Counter, which calls Python code for what is not there: nearly every message is alone in its topic.
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<PendingAppends {self.messages} messages of {len(self._counts)} topics>"

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    @property
    def messages(self) -> int:
        """How many wait."""
        return sum(self._counts.values())

    def has_room(self, owner: Owner) -> bool:
        """Return whether a source that an owner has should go on; its publishes then still find room."""
        return not self.pool.used or self.pool.room(owner) > _RESERVED * self.pool.held(owner)

    def check(self, owner: Owner, size: int) -> None:
        """Raise Overloaded when there is no room for one more message of an owner."""
        used = self.pool.used
        if used and (used + size + _EACH > self._calm or owner.weight < 1):
            self.pool.check(owner, size + _EACH)

    def add(self, name: str, owner: Owner, size: int) -> None:
        """Count a message in, whether or not there is room."""
        self._counts[name] = self._counts.get(name, 0) + 1
        self.pool.charge(owner, size + _EACH)

    def settled(self, name: str, owner: Owner, size: int) -> None:
        """Count a message out that was counted in before."""
        self.pool.release(owner, size + _EACH)
        left = self._counts[name] - 1
        if left:
            self._counts[name] = left
        else:
            del self._counts[name]
