"""All jobs in a few bytes each: when each is due, who owns it, and its state.

A job here is the number of its row. What is known of it is one integer, from the lowest bits up: the state, the
kind, the owner, the number with which it was put, and in milliseconds the time at which something is to be done
about it: begin it when it is due, or forget it when it has ended and was kept long enough. So a million jobs take
about 75 MiB; the rest of each is on disk.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from service.core.jobs.job import Job, JobState
from service.core.jobs.request import KINDS, Kind
from service.core.owner import Owner

__all__ = ["Agenda", "Entry"]

_STATES: Final = tuple(JobState)
_KIND: Final = 3
_OWNER: Final = 5
_PUT: Final = 29
_AT: Final = 45
"""The lowest bit of each."""
_OWNERS: Final = (1 << (_PUT - _OWNER)) - 1
_PUTS: Final = (1 << (_AT - _PUT)) - 1
_PAGE: Final = 6
"""Bits of a row, within its page."""
_IN_PAGE: Final = (1 << _PAGE) - 1
_EMPTY: Final = bytes(8 * (2 * (_IN_PAGE + 1) + 1))
"""A page: two numbers for each row, and how many rows it has."""
_ROW: Final = 16
_TIME: Final = 56
"""The lowest bits of the row and of the time in the heaps, above the number with which the row was put."""
_ROWS: Final = (1 << (_TIME - _ROW)) - 1
_SLACK: Final = 1000
_TIDIED: Final = 4
"""Items that are looked at for each that comes in, where many are outdated."""


class Entry(NamedTuple):
    """What is known of a job without reading it; ``at`` is in seconds since 1970."""

    state: JobState
    kind: Kind
    owner: Owner
    at: float
    """When it is due, or forgotten."""


class Agenda:
    """Rows of jobs, by number and by the time at which something is due; each step costs O(log n)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Kind, JobState]] = Counter()
        self._entries = _Entries()
        self._due: dict[Kind, _Heap] = {kind: _Heap(self._stands) for kind in KINDS}
        self._ended = _Heap(self._stands)
        self._owners = _Owners()
        self._put = 0
        """The number of the last that was put."""

    def __repr__(self) -> str:
        return f"<Agenda {len(self._entries)} jobs>"

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, row: int) -> bool:
        return row in self._entries

    def get(self, row: int) -> Entry:
        """Return what is known of a job; raise KeyError where there is none."""
        packed = self._entries.get(row)
        if packed is None:
            raise KeyError(row)
        return Entry(
            _STATES[packed & 7],
            KINDS[packed >> _KIND & 3],
            self._owners.name(packed >> _OWNER & _OWNERS),
            (packed >> _AT) / 1000,
        )

    def put(self, job: Job) -> None:
        """Add a job, or update it."""
        ended = job.ended is not None and job.state.ended
        at = max(0, round(1000 * (job.ended + job.keep if ended and job.ended is not None else job.due)))
        number = self._owners.take(job.belongs_to())
        if job.row in self._entries:
            self.remove(job.row)
        self._put = put = self._put + 1 & _PUTS
        rest = put << _PUT | number << _OWNER | KINDS.index(job.kind) << _KIND | _STATES.index(job.state)
        self._entries.put(job.row, at, rest)
        self.counts[job.kind, job.state] += 1
        item = at << _TIME | job.row << _ROW | put
        if ended:
            self._ended.push(item, len(self._entries))
        elif job.state is JobState.SCHEDULED:
            self._due[job.kind].push(item, self.counts[job.kind, JobState.SCHEDULED])

    def remove(self, row: int) -> None:
        """Forget a job."""
        entry, packed = self.get(row), self._entries.pop(row)
        self.counts[entry.kind, entry.state] -= 1
        self._owners.give_back(packed >> _OWNER & _OWNERS)

    def pop_due(self, kind: Kind, now: float) -> int | None:
        """Take out the row of this kind that has been due longest, or return None."""
        return self._due[kind].pop(now)

    def next_due(self, kind: Kind) -> float | None:
        """Return when the next of this kind is due, in seconds since 1970."""
        return self._due[kind].first()

    def pop_expired(self, now: float) -> int | None:
        """Take out the row of a job that was kept long enough, or return None."""
        return self._ended.pop(now)

    def rows_before(self, row: int, most: int) -> Iterator[int]:
        """Yield the rows below this one, the highest first, from among the next ``most`` numbers."""
        return self._entries.rows(row - 1, max(0, row - 1 - most))

    def _stands(self, item: int) -> bool:
        """Return whether a row has not been put again since an item for it was made."""
        packed = self._entries.get(item >> _ROW & _ROWS)
        return packed is not None and packed >> _AT == item >> _TIME and (packed >> _PUT ^ item) & _PUTS == 0


class _Entries:
    """What is known of each row, in pages of rows in line: 17 bytes for one, 1 KiB for one that is alone."""

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
        """Return what is known of a row, or None."""
        page = self._pages.get(row >> _PAGE)
        if page is None:
            return None
        place = (row & _IN_PAGE) << 1
        after = page[place]
        return after - 1 << _AT | page[place + 1] if after else None

    def put(self, row: int, at: int, rest: int) -> None:
        """Put a row that is not there."""
        page = self._pages.get(row >> _PAGE)
        if page is None:
            page = self._pages[row >> _PAGE] = array("Q", _EMPTY)
        place = (row & _IN_PAGE) << 1
        # A time of 0 stands for a row that is not there.
        page[place], page[place + 1] = at + 1, rest
        page[-1] += 1
        self._count += 1

    def pop(self, row: int) -> int:
        """Take out a row that is there."""
        page, place = self._pages[row >> _PAGE], (row & _IN_PAGE) << 1
        packed = page[place] - 1 << _AT | page[place + 1]
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


class _Heap:
    """Items by time. Outdated ones are dropped when they come up, and a few at a time where there are too many."""

    __slots__ = ("_items", "_old", "_stands")

    def __init__(self, stands: Callable[[int], bool]) -> None:
        self._items: list[int] = []
        self._old: list[int] = []
        """Items of which those that stand go back to the others; what lacks its end is still a heap."""
        self._stands = stands

    def push(self, item: int, standing: int) -> None:
        """Take in an item; about this many stand."""
        heappush(self._items, item)
        if not self._old and len(self._items) > 2 * standing + _SLACK:
            self._old, self._items = self._items, self._old
        for old in self._old[: -_TIDIED - 1 : -1]:
            self._old.pop()
            if self._stands(old):
                heappush(self._items, old)

    def pop(self, now: float) -> int | None:
        """Take out the row whose time came first, if it has come."""
        first = self.first()
        if first is None or first > now:
            return None
        heap = min(filter(None, (self._items, self._old)), key=_head)
        return heappop(heap) >> _ROW & _ROWS

    def first(self) -> float | None:
        """Return the earliest time, in seconds."""
        for heap in (self._items, self._old):
            while heap and not self._stands(heap[0]):
                heappop(heap)
        heads = [heap[0] for heap in (self._items, self._old) if heap]
        return (min(heads) >> _TIME) / 1000 if heads else None


def _head(heap: list[int]) -> int:
    return heap[0]


class _Owners:
    """A number for each owner that has jobs."""

    def __init__(self) -> None:
        self._numbers: dict[Owner, int] = {}
        self._names: list[Owner] = []
        self._jobs: list[int] = []
        self._free: list[int] = []

    def name(self, number: int) -> Owner:
        """Return the owner of a number."""
        return self._names[number]

    def take(self, owner: Owner) -> int:
        """Count one more job of an owner, and return its number."""
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = self._new(owner)
        self._jobs[number] += 1
        return number

    def _new(self, owner: Owner) -> int:
        if self._free:
            number = self._free.pop()
            self._names[number] = owner
            return number
        self._names.append(owner)
        self._jobs.append(0)
        return len(self._names) - 1

    def give_back(self, number: int) -> None:
        """Count one job less; the number of an owner without any is free."""
        self._jobs[number] -= 1
        if not self._jobs[number]:
            del self._numbers[self._names[number]]
            self._free.append(number)
