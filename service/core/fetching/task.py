"""What is to be fetched, for whom, and who gets the outcome."""

from typing import Any, Final, Protocol

import msgspec

from service.core.access.grants import HostPatterns
from service.core.correlation import Trace
from service.core.fetching.batch import Failure, FetchRequest, Options
from service.core.fetching.target import Target
from service.core.owner import Owner

__all__ = [
    "INTERNAL",
    "NO_MEMORY",
    "FetchGroup",
    "FetchListener",
    "FetchTask",
    "Key",
    "Rejection",
    "asker_of",
    "key_of",
]

Key = tuple[object, ...]

_SHOWN: Final = 16
"""Characters; batches have longer ids, and polls shorter ones."""
_SHARED: Final = frozenset({"GET", "HEAD"})

INTERNAL: Final = Failure("protocol", "internal error (logged)")
"""The message for a URL that a bug of ours ended; the log has the rest."""

NO_MEMORY: Final = Failure("unavailable", "the service was short of memory for all of its time", temporary=True)
"""The outcome of a URL for which there was no memory until its deadline."""


class FetchListener(Protocol):
    """Where askers come from: it says whether they may go on, and gets the outcome of each URL."""

    def may_start(self, asker: Any) -> bool | Failure:
        """Return whether one more of its fetches may start now, or why its URLs that have not started fail.

        A source that says no calls :meth:`Runner.wake` when that may have changed.
        """
        ...

    def succeeded(self, work: "FetchTask", fetched: Any, queued: float, *, shared: bool) -> None:
        """Take an answer; ``queued`` is in seconds, ``shared`` says that another asker's request brought it."""
        ...

    def failed(self, asker: Any, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Take a failure; the times are in milliseconds."""
        ...


class FetchGroup(Protocol):
    """What wants URLs fetched: a batch, or one poll of a watch."""

    id: str
    owner: Owner
    """Owners take turns."""
    source: FetchListener
    options: Options
    flavour: str
    hosts: HostPatterns
    """What may be asked for it."""
    share: int | None
    """How many fetches its owner may have at once, where that is not what everybody may."""
    total: int
    trace: Trace | None
    """What its requests are part of."""
    active: int
    """How many of its URLs are on the clock: they wait for a place, for a retry, or for an answer."""
    under_way: int
    """How many have started and have no outcome yet."""
    landed: int
    """Bytes of answers that have come and are about to be delivered."""

    @property
    def items(self) -> list[FetchRequest] | list[str]:
        """What it wants, in order."""
        ...


class FetchTask(msgspec.Struct, eq=False):
    """One URL on its way."""

    batch: FetchGroup
    index: int
    request: FetchRequest
    target: Target
    key: Key | None
    """What the same request of others has too, or None where nobody else may have its answer."""
    admitted: float = 0.0
    deadline: float = 0.0
    attempts: int = 0
    short: int = 0
    """How many attempts were given up because the service was short of memory."""
    begun: float = 0.0
    """When the last attempt began."""
    place: str = ""
    """The origin at which it has a place now."""
    under_way: bool = False
    """Whether it has started and has no outcome yet."""
    waiting: bool = False
    """Whether it waits for its start, with a place or without."""

    def start(self) -> None:
        """Take note that it starts."""
        self.under_way = True
        self.batch.under_way += 1

    def stop(self) -> None:
        """Take note of its outcome, or that it waits for another try."""
        self.batch.under_way -= self.under_way
        self.under_way = False


class Rejection(msgspec.Struct, frozen=True, eq=False):
    """A URL that never starts, or not again."""

    batch: FetchGroup
    index: int
    failure: Failure
    attempts: int
    error: Exception | None = None
    """The bug that it failed of, if it was one."""


def asker_of(group: FetchGroup) -> str:
    """Return what the log calls it: who knows the whole id of a batch can read and cancel it."""
    return f"{group.id[:6]}…" if len(group.id) > _SHOWN else group.id


def key_of(asker: FetchGroup, request: FetchRequest, target: Target) -> Key | None:
    """Return what makes two requests the same: all headers, credentials too, and what is kept of the answer."""
    method = request.method or asker.options.method
    if request.body is not None or method not in _SHARED:
        return None
    headers = tuple(sorted(request.headers.items())) if request.headers else None
    return (method, target.url, headers, asker.flavour)
