"""Flights: one upstream request, however many wait for it.

Whoever asks for what is being fetched already joins that flight and waits as an entry in a list: without a
task, a connection or a place in the plan. Everyone gets the same outcome when it lands; whose time is over
leaves alone; the request is cancelled when nobody is left.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from service.core.work import Work
from service.upstream.alarm import Alarm

__all__ = ["Flight", "Flights", "Key"]

Key = tuple[object, ...]

_SHARED: Final = frozenset({"GET", "HEAD"})


@dataclass(slots=True, eq=False)
class Flight:
    """One request under way."""

    task: "asyncio.Task[None]"
    holder: Work
    """Whose place in the plan it takes, even when that asker has left."""
    key: Key | None
    aboard: list[Work]
    until: float
    """When the last of those aboard gives up, in loop time."""
    timer: Alarm | None = None
    open: bool = True
    """Whether others can join."""
    landed: bool = False
    """Whether its outcome is about to be told."""


class Flights:
    """Every flight by what it fetches."""

    def __init__(self) -> None:
        self._open: dict[Key, Flight] = {}

    def __repr__(self) -> str:
        return f"<Flights {len(self._open)}>"

    def find(self, work: Work) -> Flight | None:
        """Return the flight that fetches what this work asks for."""
        key = _key_of(work)
        return self._open.get(key) if key is not None else None

    def begin(self, task: "asyncio.Task[None]", work: Work) -> Flight:
        """Enter a flight that others can join, if what it fetches can be shared."""
        key = _key_of(work)
        flight = Flight(task, work, key, [work], work.deadline)
        if key is not None:
            self._open[key] = flight
        return flight

    def end(self, flight: Flight) -> None:
        """Let nobody join any more."""
        flight.open = False
        if flight.key is not None:
            del self._open[flight.key]
        if flight.timer is not None:
            flight.timer.cancel()


def _key_of(work: Work) -> Key | None:
    """Return what makes two requests the same: all headers, credentials too, and what is kept of the answer."""
    request, batch = work.request, work.batch
    method = request.method or batch.options.method
    if request.body is not None or method not in _SHARED:
        return None
    headers = tuple(sorted(request.headers.items())) if request.headers else None
    return (method, work.target.url, headers, batch.flavour)
