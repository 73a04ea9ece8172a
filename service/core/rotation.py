"""Whose turn it is, by what each has cost: deficit round robin, and queues whose owners take turns by it.

A turn is worth ``quantum``. Who costs more is in debt, and sits out as many turns as that takes (Shreedhar and
Varghese, SIGCOMM 1995). One alone has no debts.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

from service.core.owner import Owner

__all__ = ["FairQueue", "OwnerQueue", "Rotation"]


class _Member(Protocol):
    credit: int
    """What is left of its turn; 0 or less where it is in debt, or has none yet."""


Member = TypeVar("Member", bound=_Member)
T = TypeVar("T")


class Rotation(Generic[Member]):
    """All who want a turn; true while anyone does."""

    __slots__ = ("_quantum", "_ring")

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._ring: deque[Member] = deque()

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def first(self) -> Member:
        """Whose turn it is; only while anyone wants one."""
        ring = self._ring
        if ring[0].credit <= 0:
            self._begin_turn()
        return ring[0]

    def enter(self, member: Member) -> None:
        """Take in one who wants turns, as the last."""
        self._ring.append(member)

    def leave(self) -> None:
        """Take out the one whose turn it is."""
        member = self._ring.popleft()
        member.credit = min(member.credit, 0)

    def spend(self, cost: int) -> None:
        """Charge the one whose turn it is; its turn is over once what that is worth is spent."""
        ring = self._ring
        if ring[0].credit <= 0:
            self._begin_turn()
        ring[0].credit -= cost
        if ring[0].credit <= 0:
            ring.rotate(-1)

    def _begin_turn(self) -> None:
        """Find who has credit in its next turn: those in debt sit theirs out."""
        ring = self._ring
        if len(ring) == 1:
            ring[0].credit = self._quantum
            return
        ring[0].credit += self._quantum
        while ring[0].credit <= 0:
            ring.rotate(-1)
            ring[0].credit += self._quantum


class OwnerQueue(Generic[T]):
    """What waits of one owner."""

    __slots__ = ("credit", "items", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.credit = 0
        """What is left of its turn."""
        self.items: deque[T] = deque()


class FairQueue(Generic[T]):
    """Items that wait for the same thing, by owner; each owner's keep their order. True while anything waits.

    To serve it, take items of the :attr:`first` line, from the left, and then call :meth:`spend`.
    """

    __slots__ = ("_lines", "_turns")

    def __init__(self, quantum: int) -> None:
        self._lines: dict[Owner, OwnerQueue[T]] = {}
        self._turns: Rotation[OwnerQueue[T]] = Rotation(quantum)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __repr__(self) -> str:
        return f"<FairQueue {len(self)} waiting, of {len(self._lines)} owners>"

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._lines.values())

    def __contains__(self, owner: Owner) -> bool:
        return owner in self._lines

    @property
    def alone(self) -> bool:
        """Whether one owner alone has items that wait."""
        return len(self._lines) == 1

    def put(self, owner: Owner, item: T) -> None:
        """Take in an item."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = OwnerQueue(owner)
            self._turns.enter(line)
        line.items.append(item)

    @property
    def first(self) -> OwnerQueue[T]:
        """The line of the owner whose turn it is; only while anything waits."""
        return self._turns.first

    def spend(self, cost: int) -> None:
        """Charge the owner whose turn it is; the turn is over when nothing is left of it, or nothing waits."""
        line = self._turns.first
        if line.items:
            self._turns.spend(cost)
        else:
            del self._lines[line.owner]
            self._turns.leave()

    def set_aside(self) -> OwnerQueue[T]:
        """Remove the line of the owner whose turn it is, and return it with everything that waits in it."""
        line = self._turns.first
        del self._lines[line.owner]
        self._turns.leave()
        return line

    def restore(self, line: OwnerQueue[T]) -> None:
        """Add a line again that was set aside; it has the last turn."""
        self._lines[line.owner] = line
        self._turns.enter(line)
