"""A bounded resource that owners share, each at most as much as is left free, or a multiple of that.

This is the dynamic threshold of Choudhury and Hahne (IEEE/ACM Transactions on Networking 6(2), 1998): an
owner may take more while it holds less than ``eager`` times what nobody holds (their alpha). With 1, one owner
alone gets half of the pool, two a third each; with 4, one alone gets four fifths. The next one always finds
room. Nothing is reserved, so a pool costs one number for each owner that holds something.

What owners hold may shrink late, and what was allowed before it was measured (a body of unknown size) may
overshoot. So an owner also has a floor: the pool divided by the square of the number of owners and one. The
sum of all floors converges (0.645 of the pool), so that they never hold more than 1.65 pools by right. A
``strict`` pool has no floor and never overflows: it is for things whose number is fixed, such as connections.
"""

from dataclasses import dataclass
from typing import Final

from service.core.errors import LimitReached, SluiceError
from service.core.owner import Owner

__all__ = ["FOUR_FIFTHS", "Pool", "PoolStatistics", "alone", "share_used"]

FOUR_FIFTHS: Final = 4
"""``eager`` of a pool of which one owner alone gets four fifths."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot: the bound, what is held of it, by how many owners, and what the largest of them holds."""

    bound: int
    used: int
    owners: int
    largest: int
    refused: int
    """How often an owner met its share since the start: it was refused, had to wait, or gave something up."""


def share_used(one: PoolStatistics) -> float:
    """Return the fraction of a pool that is in use: the key by which the busiest of several pools is shown."""
    return one.used / one.bound if one.bound else 0.0


def alone(bound: int, eager: int) -> int:
    """Return what one owner alone gets; as long as less is used in all, nobody can have more than a share."""
    return bound * eager // (eager + 1)


class Pool:
    """Who holds how much of a bound. It counts and answers; callers decide what gives way."""

    __slots__ = ("_advice", "_error", "_held", "bound", "eager", "name", "refused", "strict", "used")

    def __init__(
        self,
        name: str,
        bound: int,
        *,
        eager: int = 1,
        strict: bool = False,
        error: type[SluiceError] = LimitReached,
        advice: str = "",
    ) -> None:
        self.name = name
        """As errors, figures and docs/operations.md have it."""
        self.bound = bound
        self.eager = eager
        self.strict = strict
        self.used = 0
        self.refused = 0
        self._error = error
        self._advice = advice
        self._held: dict[Owner, int] = {}

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {self.used} of {self.bound}, {len(self._held)} owners>"

    def charge(self, owner: Owner, amount: int) -> None:
        """Count an amount in; it is counted whether or not there is room."""
        if amount:
            self.used += amount
            self._held[owner] = self._held.get(owner, 0) + amount

    def release(self, owner: Owner, amount: int) -> None:
        """Count an amount out that the owner was charged before."""
        if amount:
            left = self._held[owner] - amount
            if left < 0:
                raise ValueError(f"{owner!r} releases more than it was charged")
            self.used -= amount
            if left:
                self._held[owner] = left
            else:
                del self._held[owner]

    def held(self, owner: Owner) -> int:
        """Return how much an owner holds."""
        return self._held.get(owner, 0)

    def room(self, owner: Owner) -> int:
        """Return how much more an owner may take; 0 or less for one that has used up its share.

        An owner that holds nothing has room for one more thing, however full the pool is, unless it is strict.
        """
        held = self._held.get(owner)
        free = self.bound - self.used
        if self.strict:
            return min(max(int(free * self.eager * owner.weight), 1) - (held or 0), free)
        # Written out: every URL of a batch asks for it.
        most = free * self.eager
        if 4 * most < self.bound:
            # The floor is at most a quarter of the pool, because there are at least two shares.
            shares = len(self._held) + 1 + (held is None)
            most = max(most, self.bound // (shares * shares))
        if owner.weight != 1:
            most = int(most * owner.weight)
        if most < 1:
            most = 1
        return most - held if held else most

    def fits(self, owner: Owner, amount: int) -> bool:
        """Return whether an owner may take so much at once; one that holds nothing may take any one thing."""
        return not self._held.get(owner) or self.room(owner) >= amount * (1 + self.eager * owner.weight)

    def check(self, owner: Owner, amount: int = 1, *, retry_after: float | None = None) -> None:
        """Raise the pool's error for an owner that has no room for this many more."""
        if self.room(owner) < 1 + (amount - 1) * (1 + self.eager * owner.weight):
            raise self.refusal(owner, retry_after)

    def refusal(self, owner: Owner, retry_after: float | None = None) -> SluiceError:
        """Count a refusal, and return the error that tells the owner of it."""
        self.refused += 1
        held = self.held(owner)
        why = f"this client has {held}, its share of {self.bound}" if held else f"all {self.bound} are in use"
        advice = f"; {self._advice}" if self._advice else ""
        return self._error(f"limit {self.name}: {why}{advice}", retry_after=retry_after, pool=self.name)

    def share(self, owner: Owner) -> int:
        """Return what an owner gets where all who hold something hold as much as they may."""
        return int(self.bound * self.eager * owner.weight / (self._owners(owner) * self.eager + 1))

    def largest(self) -> Owner | None:
        """Return the owner that holds most, or None where nobody holds anything."""
        return max(self._held, key=self._held.__getitem__, default=None)

    def statistics(self) -> PoolStatistics:
        """Return an immutable snapshot."""
        largest = max(self._held.values(), default=0)
        return PoolStatistics(self.bound, self.used, len(self._held), largest, self.refused)

    def _owners(self, owner: Owner) -> int:
        return len(self._held) + (owner not in self._held)
