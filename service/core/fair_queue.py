"""Items that wait for the same thing: owners take turns, by what their items cost (deficit round robin).

Of one owner, first come, first served. A turn is worth ``quantum``; an item that costs more puts its owner in debt,
which then sits out as many turns as that takes (Shreedhar and Varghese, SIGCOMM 1995). One alone has no debts.
"""

from collections import deque
from typing import Generic, TypeVar

from service.core.owner import Owner

__all__ = ["FairQueue"]

Item = TypeVar("Item")


class _Line(Generic[Item]):
    """What waits of one owner."""

    __slots__ = ("credit", "items", "owner")

    def __init__(self, owner: Owner, credit: int) -> None:
        self.owner = owner
        self.credit = credit
        self.items: deque[Item] = deque()


class FairQueue(Generic[Item]):
    """All that wait, by owner; true while anything does."""

    __slots__ = ("_lines", "_quantum", "_ring")

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._lines: dict[Owner, _Line[Item]] = {}
        self._ring: deque[_Line[Item]] = deque()
        """The first has its turn, and alone has credit left."""

    def __bool__(self) -> bool:
        return bool(self._ring)

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._ring)

    def __repr__(self) -> str:
        return f"<FairQueue {len(self)} waiting, of {len(self._ring)} owners>"

    def put(self, owner: Owner, item: Item) -> None:
        """Take in an item."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(owner, 0 if self._ring else self._quantum)
            self._ring.append(line)
        line.items.append(item)

    @property
    def first(self) -> Item:
        """The item whose turn it is; only while anything waits."""
        return self._ring[0].items[0]

    def pop(self, cost: int = 0) -> Item:
        """Take out the item whose turn it is, and charge its owner."""
        line = self._ring[0]
        item = line.items.popleft()
        if line.items:
            self.spend(cost)
        else:
            del self._lines[line.owner]
            self._ring.popleft()
            self._begin_turn()
        return item

    def spend(self, cost: int) -> None:
        """Charge the owner whose turn it is; it is over once what it is worth is spent."""
        line = self._ring[0]
        line.credit -= cost
        if line.credit <= 0:
            self._ring.rotate(-1)
            self._begin_turn()

    def _begin_turn(self) -> None:
        """Give the next owner its turn; those in debt sit theirs out."""
        ring = self._ring
        if len(ring) == 1:
            ring[0].credit = self._quantum
        while ring and ring[0].credit <= 0:
            ring[0].credit += self._quantum
            if ring[0].credit <= 0:
                ring.rotate(-1)
