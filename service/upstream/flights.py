"""Flights: one upstream request, however many wait for it.

A request for what is being fetched already joins that flight and waits as an entry in a list: without a
task, a connection or a place in the plan. Everyone gets the same outcome when it lands; whose time is over
leaves alone, and the place goes to one of those who are left; the request is cancelled when nobody is, or when none
of them may have another place.

An answer that a shared cache may not store or use again is for the owner who asked: as soon as its head is
here, those who wait for other owners leave, and ask for their own (RFC 9111, sections 3 and 4). What was such an
answer the last time is not waited for by others at all: each owner has a flight of its own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from service.core.fetching.task import FetchTask, FlightKey
from service.runtime.timer import Timer

__all__ = ["Flight", "Flights"]

_APART: Final = 4096
"""Requests that are remembered, as numbers, for their last answer not having been for all."""


class Flight(msgspec.Struct, eq=False):
    """One request under way."""

    task: "asyncio.Task[None]"
    leader: FetchTask
    """Whose place in the plan it takes: the first of its waiters, while there are some."""
    key: FlightKey | None
    waiters: list[FetchTask]
    until: float
    """When the last of its waiters gives up, in loop time."""
    timer: Timer | None = None
    open: bool = True
    """Whether others can join."""
    landed: bool = False
    """Whether its outcome is about to be delivered."""
    apart: int | None = None
    """The number of what it fetches, where that was not for all the last time."""
    private: bool = False
    """Whether its answer is for one owner alone."""


class Flights:
    """Every flight by what it fetches; ``expired`` gets those who have left one because their time was over."""

    def __init__(self, expired: Callable[[Flight, list[FetchTask]], None]) -> None:
        self._expired = expired
        self._open: dict[FlightKey, Flight] = {}
        # By hash: where two have the same, one of them is fetched once for each owner without need.
        self._apart: OrderedDict[int, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Flights {len(self._open)}>"

    def find(self, work: FetchTask) -> Flight | None:
        """Return the flight that fetches what this work asks for."""
        key = work.key
        if key is None:
            return None
        if self._apart and hash(key) in self._apart:
            key = (work.group.owner, key)
        return self._open.get(key)

    def begin(self, task: "asyncio.Task[None]", work: FetchTask) -> Flight:
        """Enter a flight that others can join, if what it fetches can be shared."""
        key, apart = work.key, None
        if self._apart and key is not None and (number := hash(key)) in self._apart:
            key, apart = (work.group.owner, key), number
        flight = Flight(task, work, key, [work], work.deadline, apart=apart)
        if key is not None:
            self._open[key] = flight
        return flight

    def join(self, flight: Flight, work: FetchTask) -> bool:
        """Have a URL wait for a flight; return whether the flight has more time now."""
        flight.waiters.append(work)
        self._watch(flight, min(work.deadline, flight.timer.at if flight.timer else flight.leader.deadline))
        if work.deadline <= flight.until:
            return False
        flight.until = work.deadline
        return True

    def _watch(self, flight: Flight, at: float) -> None:
        """Check the deadlines of its waiters when the first is over; a flight of one has the fetcher's."""
        if flight.timer is not None:
            if flight.timer.at == at:
                return
            flight.timer.cancel()
        flight.timer = Timer(at, self._expire, flight, at)

    def _expire(self, flight: Flight, now: float) -> None:
        flight.timer = None
        late = [work for work in flight.waiters if work.deadline <= now]
        flight.waiters = [work for work in flight.waiters if work.deadline > now]
        if flight.waiters:
            self._watch(flight, min(work.deadline for work in flight.waiters))
        self._expired(flight, late)

    def set_apart(self, flight: Flight) -> list[FetchTask]:
        """Keep an answer to its owner alone; return those who have to ask for their own, and leave the flight."""
        if flight.private or flight.key is None or not flight.waiters:
            return []
        flight.private = True
        if flight.apart is not None:
            return []
        self._mark(hash(flight.key))
        owner = flight.waiters[0].group.owner
        del self._open[flight.key]
        key: FlightKey = (owner, flight.key)
        flight.key = None if key in self._open else key
        if flight.key is not None:
            self._open[key] = flight
        leaving = [work for work in flight.waiters if work.group.owner != owner]
        if leaving:
            flight.waiters = [work for work in flight.waiters if work.group.owner == owner]
        return leaving

    def _mark(self, number: int) -> None:
        self._apart[number] = None
        if len(self._apart) > _APART:
            self._apart.popitem(last=False)

    def end(self, flight: Flight) -> None:
        """Let nobody join any more."""
        flight.open = False
        if flight.key is not None:
            del self._open[flight.key]
        if flight.apart is not None and not flight.private:
            self._apart.pop(flight.apart, None)
        if flight.timer is not None:
            flight.timer.cancel()
