"""What the plan knows of a client and of a batch, and the check of URLs before they are on the clock."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from service.core.fetching.batch import BatchLimits, Failure, FetchRequest, item_of
from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Refusal, check_url
from service.core.fetching.task import INTERNAL, FetchGroup, FetchTask, Rejection, key_of
from service.core.owner import Owner

__all__ = [
    "AGAIN",
    "AHEAD",
    "OwnerState",
    "Queue",
    "ask",
    "look_ahead",
    "may_go_on",
    "refuse",
    "too_late",
    "unavailable",
]

AGAIN = 0.25
"""Seconds after which a URL asks again that has given up its place because its batch may not go on."""
AHEAD = 32
"""URLs that are checked at once, at 3 to 7 us each."""


@dataclass(slots=True, eq=False)
class OwnerState:
    """What the plan knows of an owner."""

    name: Owner
    share: int
    active: int = 0
    """How many of its URLs have started, or are offered a place."""
    batches: int = 0
    queues: "deque[Queue]" = field(default_factory=deque)
    """Batches that may admit URLs."""
    offers: deque[FetchTask] = field(default_factory=deque)
    blocked: dict[str, None] = field(default_factory=dict)
    """Hosts that had a place for it while it had all of its share."""
    in_turn: bool = False
    credit: int = 0
    """What is left of its turn."""


@dataclass(slots=True, eq=False)
class Queue:
    """A batch in the plan."""

    batch: FetchGroup
    next: int = 0
    ready: deque[FetchTask] = field(default_factory=deque)
    """Checked, and not yet on the clock."""
    waiting: dict[FetchTask, None] = field(default_factory=dict)
    """Parked or offered."""
    in_turn: bool = False
    gone: bool = False


def look_ahead(queue: Queue, limits: BatchLimits, policy: Policy) -> list[Rejection]:
    """Check the next few URLs and return those that are rejected.

    Many in a row take a third of the time that each would take alone.
    """
    batch = queue.batch
    begin, queue.next = queue.next, min(queue.next + AHEAD, batch.total)
    rejected = []
    items: list[FetchRequest | str] = [*batch.items[begin : queue.next]]
    for index, item in enumerate(items, begin):
        checked: FetchTask | Failure
        error = None
        try:
            checked = _check(batch, index, item, limits, policy)
        except Exception as raised:
            checked, error = INTERNAL, raised
        if isinstance(checked, Failure):
            rejected.append(Rejection(batch, index, checked, 0, error))
        else:
            queue.ready.append(checked)
    return rejected


def _check(
    batch: FetchGroup, index: int, item: FetchRequest | str, limits: BatchLimits, policy: Policy
) -> FetchTask | Failure:
    request = item_of(item, limits)
    if isinstance(request, Failure):
        return request
    target = check_url(request.url, policy)
    if isinstance(target, Refusal):
        return Failure(target.kind, target.detail)
    if not batch.hosts.allows(target.host):
        return Failure("blocked", batch.hosts.refusal(target.host))
    return FetchTask(batch, index, request, target, key_of(batch, request, target))


def refuse(queue: Queue, failure: Failure, most: int, error: Exception | None = None) -> list[Rejection]:
    """Reject the next URLs that are not on the clock yet."""
    indices = [queue.ready.popleft().index for _ in range(min(most, len(queue.ready)))]
    begin, queue.next = queue.next, min(queue.next + most - len(indices), queue.batch.total)
    return [Rejection(queue.batch, index, failure, 0, error) for index in (*indices, *range(begin, queue.next))]


def too_late(work: FetchTask, opens: float, now: float) -> Failure | None:
    """Say why a URL cannot get its host in time, which may be asked from ``opens`` on."""
    if work.deadline <= now:
        return Failure("timeout", "its time was over before its turn")
    return unavailable(opens, now) if opens > work.deadline else None


def ask(queue: Queue) -> Literal[True] | list[Rejection]:
    """Ask the source of a batch whether it may go on; return what is rejected where it may not."""
    try:
        verdict = queue.batch.source.may_start(queue.batch)
    except Exception as error:
        return refuse(queue, INTERNAL, 1, error)
    if verdict is True:
        return True
    return refuse(queue, verdict, AHEAD) if verdict else []


def may_go_on(work: FetchTask) -> bool | Failure:
    """Return whether a URL starts that has a place at last, or why not: its batch may have no memory by now."""
    try:
        return work.attempts > 0 or work.batch.source.may_start(work.batch)
    except Exception:
        return True  # the batch is asked again before its next URL, which then fails of it


def unavailable(opens: float, now: float) -> Failure:
    """Say that a host is left alone for longer than a URL has time."""
    return Failure("unavailable", "its host is left alone for a while", round(opens - now, 3))
