"""All jobs in a few bytes each: when each is due, who owns it, and its state.

A job here is the number of its row. What is known of it is one integer, from the lowest bits up: the state, the
kind, the owner, the number with which it was put, and in milliseconds the time at which something is to be done
about it: begin it when it is due, or forget it when it has ended and was kept long enough. So a million jobs take
about 75 MiB; the rest of each is on disk.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from service.core.jobs.entries import AT, Entries
from service.core.jobs.request import KINDS, Kind
from service.core.jobs.summary import JobState, JobSummary
from service.core.owner import Owner

__all__ = ["Agenda", "Entry"]

_STATES: Final = tuple(JobState)
_KIND: Final = 3
_OWNER: Final = 5
_PUT: Final = 29
"""The lowest bit of each."""
_OWNERS: Final = (1 << (_PUT - _OWNER)) - 1
_PUTS: Final = (1 << (AT - _PUT)) - 1
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
        self._entries = Entries()
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
            (packed >> AT) / 1000,
        )

    def put(self, job: JobSummary) -> None:
        """Add a job, or update it."""
        number = self._owners.charge(job.belongs_to())
        if job.row in self._entries:
            self.remove(job.row)
        self._put = put = self._put + 1 & _PUTS
        at, heap = _time_of(job), self._heap(job.kind, job.state)
        self._entries.add(job.row, at, put << _PUT | _packed(number, job.kind, job.state))
        self.counts[job.kind, job.state] += 1
        if heap is not None:
            standing = len(self._entries) if heap is self._ended else self.counts[job.kind, job.state]
            heap.push(at << _TIME | job.row << _ROW | put, standing)

    def fill(self, jobs: Iterable[JobSummary]) -> None:
        """Add many jobs, as a start does, in a third of the time; jobs that are there already stay as they are."""
        alike: dict[tuple[tuple[str, float, bool], Kind, JobState], _Alike] = {}
        add, put = self._entries.add, self._put
        for job in jobs:
            one = alike.get((job.owner, job.kind, job.state))
            if one is None:
                one = alike[job.owner, job.kind, job.state] = self._alike(job)
            put = put + 1 & _PUTS
            at = _time_of(job)
            if add(job.row, at, put << _PUT | one.rest):
                one.items.append(at << _TIME | job.row << _ROW | put)
        self._put = put
        for (_, kind, state), one in alike.items():
            self.counts[kind, state] += len(one.items)
            self._owners.charge(one.owner, len(one.items) - 1)
            if (heap := self._heap(kind, state)) is not None:
                heap.fill(one.items)

    def _alike(self, first: JobSummary) -> "_Alike":
        owner = first.belongs_to()
        return _Alike(owner, _packed(self._owners.charge(owner), first.kind, first.state), [])

    def _heap(self, kind: Kind, state: JobState) -> "_Heap | None":
        """Return the heap in which jobs of this kind and state wait for their time; None if they wait for none."""
        if state is JobState.SCHEDULED:
            return self._due[kind]
        return self._ended if state.ended else None

    def remove(self, row: int) -> None:
        """Forget a job."""
        entry, packed = self.get(row), self._entries.pop(row)
        self.counts[entry.kind, entry.state] -= 1
        self._owners.release(packed >> _OWNER & _OWNERS)

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
        return packed is not None and packed >> AT == item >> _TIME and (packed >> _PUT ^ item) & _PUTS == 0


class _Alike(NamedTuple):
    """Jobs of one owner, kind and state."""

    owner: Owner
    rest: int
    """What all of them have in common: owner, kind and state, packed."""
    items: list[int]


def _packed(owner: int, kind: Kind, state: JobState) -> int:
    return owner << _OWNER | KINDS.index(kind) << _KIND | _STATES.index(state)


def _time_of(job: JobSummary) -> int:
    """Return when a job is due or, once it has ended, expires, in milliseconds since 1970."""
    at = job.due if job.ended is None or not job.state.ended else job.ended + job.keep
    return round(1000 * at) if at > 0 else 0


class _Heap:
    """Items by time. Outdated ones are dropped when they come up, and a few at a time where there are too many."""

    __slots__ = ("_items", "_old", "_stands")

    def __init__(self, stands: Callable[[int], bool]) -> None:
        self._items: list[int] = []
        self._old: list[int] = []
        """Items that are tidied up: those that stand go back to the others. Taken from its end, it stays a heap."""
        self._stands = stands

    def push(self, item: int, standing: int) -> None:
        """Take in an item; ``standing`` is about how many items still stand."""
        heappush(self._items, item)
        if not self._old and len(self._items) > 2 * standing + _SLACK:
            self._old, self._items = self._items, self._old
        for old in self._old[: -_TIDIED - 1 : -1]:
            self._old.pop()
            if self._stands(old):
                heappush(self._items, old)

    def fill(self, items: Iterable[int]) -> None:
        """Add many items; none is outdated."""
        for item in items:
            heappush(self._items, item)

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

    def charge(self, owner: Owner, count: int = 1) -> int:
        """Count this many more jobs of an owner, and return the owner's number."""
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = self._new(owner)
        self._jobs[number] += count
        return number

    def _new(self, owner: Owner) -> int:
        if self._free:
            number = self._free.pop()
            self._names[number] = owner
            return number
        self._names.append(owner)
        self._jobs.append(0)
        return len(self._names) - 1

    def release(self, number: int) -> None:
        """Count one job less; the number of an owner without any is free."""
        self._jobs[number] -= 1
        if not self._jobs[number]:
            del self._numbers[self._names[number]]
            self._free.append(number)
