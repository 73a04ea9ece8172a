"""A bounded resource that owners share, each at most as much as is left free.

This is the dynamic threshold of Choudhury and Hahne (IEEE/ACM Transactions on Networking 6(2), 1998), with
alpha = 1: an owner may take more while it holds less than what nobody holds. One owner alone gets half of the
pool, two a third each, and the next one always finds room. Nothing is reserved, so a pool costs one
number for each owner that holds something.

What owners hold may shrink late, and what was allowed before it was measured (a body of unknown size) may
overshoot. So an owner also has a floor: the pool divided by the square of the number of owners and one. The
sum of all floors converges (0.645 of the pool), so that they never hold more than 1.65 pools by right.
"""

from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Pool", "PoolStatistics"]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot: the bound, what is held of it, by how many owners, and what the largest of them holds."""

    bound: int
    used: int
    owners: int
    largest: int


class Pool:
    """Who holds how much of a bound. It counts and answers; callers decide what gives way."""

    __slots__ = ("_held", "bound", "used")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.used = 0
        self._held: dict[Hashable, int] = {}

    def __repr__(self) -> str:
        return f"<Pool {self.used} of {self.bound}, {len(self._held)} owners>"

    def take(self, owner: Hashable, amount: int) -> None:
        """Count an amount in; it is counted whether or not there is room."""
        if amount:
            self.used += amount
            self._held[owner] = self._held.get(owner, 0) + amount

    def give_back(self, owner: Hashable, amount: int) -> None:
        """Count an amount out that the owner has taken before."""
        if amount:
            left = self._held[owner] - amount
            if left < 0:
                raise ValueError(f"{owner!r} gives back more than it has taken")
            self.used -= amount
            if left:
                self._held[owner] = left
            else:
                del self._held[owner]

    def held(self, owner: Hashable) -> int:
        """Return how much an owner holds."""
        return self._held.get(owner, 0)

    def room(self, owner: Hashable) -> int:
        """Return how much more an owner may take; 0 or less for one that has used up its share.

        An owner that holds nothing has room for one more thing, however full the pool is.
        """
        held = self._held.get(owner)
        shares = len(self._held) + 1 + (held is None)
        return max(self.bound - self.used, self.bound // (shares * shares), 1) - (held or 0)

    def share(self, owner: Hashable) -> int:
        """Return what an owner gets where all who hold something hold as much as they may."""
        return self.bound // (self._owners(owner) + 1)

    def largest(self) -> Hashable | None:
        """Return the owner that holds most, or None where nobody holds anything."""
        return max(self._held, key=self._held.__getitem__, default=None)

    def statistics(self) -> PoolStatistics:
        """Return an immutable snapshot."""
        return PoolStatistics(self.bound, self.used, len(self._held), max(self._held.values(), default=0))

    def _owners(self, owner: Hashable) -> int:
        return len(self._held) + (owner not in self._held)
