"""The port of the fetch engine: who wants URLs fetched, who gets the outcomes, and one URL on its way.

A :class:`FetchGroup` (a batch, one poll of a watch, a run of ``sluice fetch``) is added to the engine. Its
:class:`FetchListener` admits its URLs one by one, and gets exactly one outcome for each of them. A URL that is
wanted is a :class:`FetchTask`, and goes through these states:

    state     counts in its group   next
    queued    -                     parked, running, landed
    parked    active                offered, landed
    offered   active                running, landed
    running   active, under way     landed
    landed    -                     retry, ended
    retry     active                parked, offered, landed
    ended     -                     -

From each of them it is ended at once when its group is removed. The clock of a URL starts when it leaves *queued*.
A *parked* one waits for a place at its host; one that is *offered* has a place there, and waits for its owner's
turn. A *running* one has a request under way, or waits for the answer to another's. *Landed* means that its outcome
is here, and not delivered yet: either it ends then, or it is made again.
"""

from collections.abc import Sequence
from typing import Final, Protocol, Self, TypeVar

import msgspec

from service.core.access.grants import HostPatterns
from service.core.correlation import Trace
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.target import Target
from service.core.owner import Owner

__all__ = [
    "ENDED", "LANDED", "OFFERED", "PARKED", "QUEUED", "RETRY", "RUNNING", "STATES",
    "FetchGroup", "FetchListener", "FetchTask", "FlightKey", "Rejection", "TaskState", "Turn",
    "asker_of", "flight_key",
]  # fmt: skip

FlightKey = tuple[object, ...]

_SHOWN: Final = 16
"""Characters; batches have longer ids, and polls shorter ones."""
_SHARED: Final = frozenset({"GET", "HEAD"})


class TaskState:
    """A state of a URL, what it counts as in its group, and the states that may follow it."""

    __slots__ = ("active", "following", "name", "under_way")

    def __init__(self, name: str, *, active: int = 0, under_way: int = 0) -> None:
        self.name = name
        self.active = active
        self.under_way = under_way
        self.following: tuple[TaskState, ...] = ()

    def __repr__(self) -> str:
        return self.name


QUEUED: Final = TaskState("queued")
PARKED: Final = TaskState("parked", active=1)
OFFERED: Final = TaskState("offered", active=1)
RUNNING: Final = TaskState("running", active=1, under_way=1)
LANDED: Final = TaskState("landed")
RETRY: Final = TaskState("retry", active=1)
ENDED: Final = TaskState("ended")
STATES: Final = (QUEUED, PARKED, OFFERED, RUNNING, LANDED, RETRY, ENDED)

QUEUED.following = (RUNNING, PARKED, LANDED, ENDED)
PARKED.following = (OFFERED, LANDED, ENDED)
OFFERED.following = (RUNNING, LANDED, ENDED)
RUNNING.following = (LANDED, ENDED)
LANDED.following = (ENDED, RETRY)
RETRY.following = (PARKED, OFFERED, LANDED, ENDED)

_G = TypeVar("_G", contravariant=True)


class FetchListener(Protocol[_G]):
    """Who admits the URLs of groups, and gets the outcome of each; an error that it raises costs one URL."""

    def admit(self, group: _G) -> Permit | Failure:
        """Let one more URL of a group start, hold the group back, or say why its URLs that have not started fail.

        It is asked before each URL, and once more before one starts that has waited for its host. One that holds a
        group back calls :meth:`Runner.wake` when the answer may be another one.
        """
        ...

    def succeeded(self, group: _G, task: "FetchTask", fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Receive an answer; ``queued`` is in seconds, ``shared`` says that another's request brought it."""
        ...

    def failed(self, group: _G, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Receive a failure; the times are in milliseconds."""
        ...


class FetchGroup(Protocol):
    """URLs that are wanted together. The engine counts in the last three fields, and writes no other."""

    id: str
    """No two groups in the engine have the same."""
    owner: Owner
    """Owners take turns."""
    options: Options
    flavour: str
    hosts: HostPatterns
    """What may be asked for it."""
    share: int | None
    """How many fetches its owner may have at once, where that is not what everybody may."""
    wanted: Sequence[int]
    """The indices of the items that are to be fetched, in order."""
    trace: Trace | None
    """What its requests are part of."""
    active: int
    """How many of its URLs are on the clock and have no outcome: they wait, or their requests run."""
    under_way: int
    """How many of those have started."""
    landed: int
    """Bytes of answers that are here and about to be delivered."""

    @property
    def listener(self) -> FetchListener[Self]:
        """Who admits its URLs, and gets their outcomes."""
        ...

    @property
    def items(self) -> list[FetchRequest] | list[str]:
        """What it wants, in order."""
        ...


class FetchTask(msgspec.Struct, eq=False):
    """One URL on its way."""

    group: FetchGroup
    index: int
    request: FetchRequest
    target: Target
    key: FlightKey | None
    """What the same request of others has too, or None where nobody else may have its answer."""
    state: TaskState = QUEUED
    admitted: float = 0.0
    deadline: float = 0.0
    attempts: int = 0
    short: int = 0
    """How many attempts were given up because the service was short of memory."""
    begun: float = 0.0
    """When the last attempt began."""
    place: str = ""
    """The origin at which it has a place now."""

    @property
    def waiting(self) -> bool:
        """Whether it waits for its start, with a place or without."""
        return self.state is PARKED or self.state is OFFERED

    def move(self, state: TaskState) -> None:
        """Enter a state; raise ValueError where the table above does not allow it."""
        before, group = self.state, self.group
        if state not in before.following:
            raise ValueError(f"a URL that is {before} cannot become {state}")
        if state.active != before.active:
            group.active += state.active - before.active
        if state.under_way != before.under_way:
            group.under_way += state.under_way - before.under_way
        self.state = state


class Rejection(msgspec.Struct, frozen=True, eq=False):
    """What the plan decided: this URL never starts, or not again."""

    group: FetchGroup
    index: int
    failure: Failure
    attempts: int
    error: Exception | None = None
    """The bug that it failed of, if it was one."""


class Turn(msgspec.Struct, frozen=True, eq=False):
    """What the plan decided: a group may start one URL, if its listener admits it."""

    group: FetchGroup
    task: FetchTask | None = None
    """The URL, where it is one that has waited for its host."""


def asker_of(group: FetchGroup) -> str:
    """Return what the log calls it: who knows the whole id of a batch can read and cancel it."""
    return f"{group.id[:6]}…" if len(group.id) > _SHOWN else group.id


def flight_key(group: FetchGroup, request: FetchRequest, target: Target) -> FlightKey | None:
    """Return what two requests have to share to be the same: all headers, credentials too, and what is kept."""
    method = request.method or group.options.method
    if request.body is not None or method not in _SHARED:
        return None
    headers = tuple(sorted(request.headers.items())) if request.headers else None
    return (method, target.url, headers, group.flavour)
