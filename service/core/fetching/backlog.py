"""The URLs of one group that have not begun: checked some at a time, before they are on the clock."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.core.fetching.batch import BatchLimits, item_of
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import INTERNAL, Failure
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Refusal, check_url
from service.core.fetching.task import FetchGroup, FetchTask, Rejection, Turn, flight_key

__all__ = ["AHEAD", "Backlog"]

AHEAD = 32
"""URLs that are checked at once, at 3 to 7 us each."""


@dataclass(slots=True, eq=False)
class Backlog:
    """A group in the plan."""

    group: FetchGroup
    turn: Turn = field(init=False)
    next: int = 0
    ready: deque[FetchTask] = field(default_factory=deque)
    """Checked, and not yet on the clock."""
    in_turn: bool = False
    gone: bool = False

    def __post_init__(self) -> None:
        self.turn = Turn(self.group)

    @property
    def left(self) -> bool:
        """Whether some have not begun."""
        return bool(self.ready) or self.next < len(self.group.wanted)

    @property
    def open(self) -> bool:
        """Whether one more may be on the clock."""
        group = self.group
        return (
            group.active < group.options.concurrency
            and (bool(self.ready) or self.next < len(group.wanted))
            and not self.gone
        )

    def check_ahead(self, limits: BatchLimits, policy: Policy) -> list[Rejection]:
        """Check the next few URLs and return those that are rejected.

        Many in a row take a third of the time that each would take alone.
        """
        group = self.group
        rejected = []
        for index in self._pop_next(AHEAD):
            item: FetchRequest | str = group.items[index]
            checked: FetchTask | Failure
            error = None
            try:
                checked = _check(group, index, item, limits, policy)
            except Exception as raised:
                checked, error = INTERNAL, raised
            if isinstance(checked, Failure):
                rejected.append(Rejection(group, index, checked, 0, error))
            else:
                self.ready.append(checked)
        return rejected

    def begin_next(self, now: float) -> FetchTask:
        """Return the next URL that was checked; its time begins."""
        task = self.ready.popleft()
        task.admitted, task.deadline = now, now + self.group.options.timeout
        return task

    def refuse(self, failure: Failure, error: Exception | None = None) -> list[Rejection]:
        """Reject the next few URLs; the next one alone where a bug is why."""
        most = AHEAD if error is None else 1
        indices = [self.ready.popleft().index for _ in range(min(most, len(self.ready)))]
        indices += self._pop_next(most - len(indices))
        return [Rejection(self.group, index, failure, 0, error) for index in indices]

    def _pop_next(self, most: int) -> Sequence[int]:
        """Return the next indices that have not begun."""
        begin, self.next = self.next, min(self.next + most, len(self.group.wanted))
        return self.group.wanted[begin : self.next]


def _check(
    group: FetchGroup, index: int, item: FetchRequest | str, limits: BatchLimits, policy: Policy
) -> FetchTask | Failure:
    request = item_of(item, limits)
    if isinstance(request, Failure):
        return request
    target = check_url(request.url, policy)
    if isinstance(target, Refusal):
        return Failure(target.kind, target.detail)
    if not group.hosts.allows(target.host):
        return Failure("blocked", group.hosts.refusal(target.host))
    return FetchTask(group, index, request, target, flight_key(group, request, target))
