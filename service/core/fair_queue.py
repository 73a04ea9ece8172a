"""Items that wait for the same thing: owners take turns by what their items cost; each owner's keep their order."""

from collections import deque
from typing import Generic, TypeVar

from service.core.owner import Owner
from service.core.rotation import Rotation

__all__ = ["FairQueue", "Line"]

T = TypeVar("T")


class Line(Generic[T]):
    """What waits of one owner."""

    __slots__ = ("credit", "items", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.credit = 0
        """What is left of its turn."""
        self.items: deque[T] = deque()


class FairQueue(Generic[T]):
    """All that wait, by owner; true while anything does.

    Who serves it takes items of the :attr:`first` line, from the left, and then calls :meth:`spend`.
    """

    __slots__ = ("_lines", "_turns")

    def __init__(self, quantum: int) -> None:
        self._lines: dict[Owner, Line[T]] = {}
        self._turns: Rotation[Line[T]] = Rotation(quantum)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __repr__(self) -> str:
        return f"<FairQueue {len(self)} waiting, of {len(self._lines)} owners>"

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._lines.values())

    def put(self, owner: Owner, item: T) -> None:
        """Take in an item."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = Line(owner)
            self._turns.enter(line)
        line.items.append(item)

    @property
    def first(self) -> Line[T]:
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

    def set_aside(self) -> Line[T]:
        """Remove the line of the owner whose turn it is, and return it with everything that waits in it."""
        line = self._turns.first
        del self._lines[line.owner]
        self._turns.leave()
        return line

    def restore(self, line: Line[T]) -> None:
        """Add a line again that was set aside; it has the last turn."""
        self._lines[line.owner] = line
        self._turns.enter(line)
