"""All jobs in a few bytes each: when each is due, who owns it, and its state.

A job here is the number of its row. What is known of it is one integer, from the lowest bits up: the state, the
kind, the owner, and in milliseconds the time at which something is to be done about it: begin it when it is due, or
forget it when it has ended and was kept long enough. So a million jobs take about 150 MiB; the rest of each is on
disk.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from service.core.jobs.job import Job, JobState
from service.core.jobs.request import KINDS, Kind
from service.core.owner import Owner

__all__ = ["Agenda", "Entry"]

_STATES: Final = tuple(JobState)
_KIND: Final = 3
_OWNER: Final = 5
_AT: Final = 29
"""The lowest bit of each."""
_OWNERS: Final = 1 << (_AT - _OWNER)
_ROWS: Final = 40
_LOW: Final = (1 << _ROWS) - 1
"""Bits of a row, below the time in the heaps."""
_SCHEDULED: Final = _STATES.index(JobState.SCHEDULED)
_FIRST_ENDED: Final = _STATES.index(JobState.DONE)
"""The states from this one on are those of jobs that have ended."""
_SLACK: Final = 1000


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
        self._entries: dict[int, int] = {}
        self._due: dict[Kind, _Heap] = {kind: _Heap(self._waits) for kind in KINDS}
        self._ended = _Heap(self._has_ended)
        self._owners = _Owners()

    def __repr__(self) -> str:
        return f"<Agenda {len(self._entries)} jobs>"

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, row: int) -> bool:
        return row in self._entries

    def get(self, row: int) -> Entry:
        """Return what is known of a job; raise KeyError where there is none."""
        packed = self._entries[row]
        return Entry(
            _STATES[packed & 7],
            KINDS[packed >> _KIND & 3],
            self._owners.name(packed >> _OWNER & (_OWNERS - 1)),
            (packed >> _AT) / 1000,
        )

    def put(self, job: Job) -> None:
        """Add a job, or update it."""
        ended = job.ended is not None and job.state.ended
        at = max(0, round(1000 * (job.ended + job.keep if ended and job.ended is not None else job.due)))
        number = self._owners.take(job.belongs_to())
        if job.row in self._entries:
            self.remove(job.row)
        packed = at << _AT | number << _OWNER | KINDS.index(job.kind) << _KIND | _STATES.index(job.state)
        self._entries[job.row] = packed
        self.counts[job.kind, job.state] += 1
        if ended:
            self._ended.push(at, job.row)
        elif job.state is JobState.SCHEDULED:
            self._due[job.kind].push(at, job.row)

    def remove(self, row: int) -> None:
        """Forget a job."""
        entry, packed = self.get(row), self._entries.pop(row)
        self.counts[entry.kind, entry.state] -= 1
        self._owners.give_back(packed >> _OWNER & (_OWNERS - 1))

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
        return (number for number in range(row - 1, max(0, row - 1 - most), -1) if number in self._entries)

    def _waits(self, at: int, row: int) -> bool:
        """Return whether a job is still to begin at this time."""
        packed = self._entries.get(row)
        return packed is not None and packed >> _AT == at and packed & 7 == _SCHEDULED

    def _has_ended(self, at: int, row: int) -> bool:
        """Return whether a job is still to be forgotten at this time."""
        packed = self._entries.get(row)
        return packed is not None and packed >> _AT == at and packed & 7 >= _FIRST_ENDED


class _Heap:
    """Rows by time. Outdated items are dropped when they come up, or when there are too many."""

    __slots__ = ("_items", "_room", "_stands")

    def __init__(self, stands: Callable[[int, int], bool]) -> None:
        self._items: list[int] = []
        self._room = _SLACK
        self._stands = stands

    def push(self, at: int, row: int) -> None:
        """Take in a row."""
        heappush(self._items, at << _ROWS | row)
        if len(self._items) > self._room:
            self._items = [item for item in set(self._items) if self._stands(item >> _ROWS, item & _LOW)]
            heapify(self._items)
            self._room = 2 * len(self._items) + _SLACK

    def pop(self, now: float) -> int | None:
        """Take out the row whose time came first, if it has come."""
        first = self.first()
        if first is None or first > now:
            return None
        item = heappop(self._items)
        while self._items and self._items[0] == item:
            heappop(self._items)  # what was put more than once for the same time
        return item & _LOW

    def first(self) -> float | None:
        """Return the earliest time, in seconds."""
        items = self._items
        while items and not self._stands(items[0] >> _ROWS, items[0] & _LOW):
            heappop(items)
        return (items[0] >> _ROWS) / 1000 if items else None


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
