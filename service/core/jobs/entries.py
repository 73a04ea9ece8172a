"""A time for each row, and a number in the bits below it."""

from array import array
from collections.abc import Iterator
from typing import Final

__all__ = ["AT", "Entries"]

AT: Final = 45
"""Bits of the number, below the time."""
_PAGE: Final = 6
"""Bits of a row, within its page."""
_IN_PAGE: Final = (1 << _PAGE) - 1
_EMPTY: Final = bytes(8 * (2 * (_IN_PAGE + 1) + 1))
"""A page: two numbers for each row, and how many rows it has."""


class Entries:
    """A number for each row, in pages of consecutive rows: 17 bytes a row, or 1 KiB for a row alone in its page."""

    __slots__ = ("_count", "_pages")

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: int) -> bool:
        page = self._pages.get(row >> _PAGE)
        return page is not None and page[(row & _IN_PAGE) << 1] > 0

    def get(self, row: int) -> int | None:
        """Return the number of a row, its time included, or None."""
        page = self._pages.get(row >> _PAGE)
        if page is None:
            return None
        place = (row & _IN_PAGE) << 1
        after = page[place]
        return after - 1 << AT | page[place + 1] if after else None

    def add(self, row: int, at: int, rest: int) -> bool:
        """Add a row unless it is there already; return whether it was added."""
        page = self._pages.get(row >> _PAGE)
        if page is None:
            page = self._pages[row >> _PAGE] = array("Q", _EMPTY)
        place = (row & _IN_PAGE) << 1
        if page[place]:
            return False
        # A time of 0 stands for a row that is not there.
        page[place], page[place + 1] = at + 1, rest
        page[-1] += 1
        self._count += 1
        return True

    def pop(self, row: int) -> int:
        """Remove a row that is there, and return its number."""
        page, place = self._pages[row >> _PAGE], (row & _IN_PAGE) << 1
        packed = page[place] - 1 << AT | page[place + 1]
        page[place] = 0
        page[-1] -= 1
        self._count -= 1
        if not page[-1]:
            del self._pages[row >> _PAGE]
        return packed

    def rows(self, newest: int, before: int) -> Iterator[int]:
        """Yield the rows that are there, from this one down to the one after ``before``."""
        for number in range(newest >> _PAGE, (before >> _PAGE) - 1, -1):
            page, first = self._pages.get(number), number << _PAGE
            if page is not None:
                for row in range(min(newest, first + _IN_PAGE), max(before, first - 1), -1):
                    if page[row - first << 1]:
                        yield row
