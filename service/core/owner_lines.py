"""A queue for places that not every owner may have: the next place goes to the first owner that may have it.

That owner then goes behind all others. Where every owner may have the next turn, and turns have costs, use the
``FairQueue`` of ``rotation.py``.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["OwnerLines"]

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class OwnerLines(Generic[Key, Item]):
    """The items that wait, in a line for each owner; true while there are any."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: OrderedDict[Key, deque[Item]] = OrderedDict()
        """The first owner has the next turn."""

    def __repr__(self) -> str:
        return f"<OwnerLines {len(self)} waiting, of {len(self._lines)} owners>"

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[Item]:
        return (item for line in tuple(self._lines.values()) for item in tuple(line))

    def __contains__(self, owner: Key) -> bool:
        return owner in self._lines

    @property
    def owners(self) -> int:
        """How many owners wait."""
        return len(self._lines)

    def put(self, owner: Key, item: Item) -> None:
        """Put an item at the end of its owner's line."""
        self._lines.setdefault(owner, deque()).append(item)

    def discard(self, owner: Key, item: Item) -> None:
        """Remove an item that waits no longer; do nothing if it is not there."""
        line = self._lines.get(owner, ())
        if line and item in line:
            line.remove(item)
            if not line:
                del self._lines[owner]

    def take(self, may: Callable[[Key], bool]) -> tuple[Key, Item] | None:
        """Remove and return the oldest item of the first owner that may have a place, if any may."""
        # Owners that are skipped keep their turn. They are few, as only owners with many places are refused more.
        owner = next(filter(may, self._lines), None)
        if owner is None:
            return None
        line = self._lines.pop(owner)
        item = line.popleft()
        if line:
            self._lines[owner] = line
        return owner, item
