"""The URLs of groups in the plan: those that have not begun, checked some at a time, and those on the clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.core.fetching.batch import BatchLimits, item_of
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import INTERNAL, Failure
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Refusal, check_url
from service.core.fetching.task import ENDED, FetchGroup, FetchTask, Rejection, Turn, flight_key

__all__ = ["AHEAD", "AdmittedTasks", "Backlog"]

AHEAD = 32
"""URLs that are checked at once, at 3 to 7 us each."""


@dataclass(slots=True, eq=False)
class Backlog:
    """A group in the plan, and its URLs that have not begun."""

    group: FetchGroup
    turn: Turn = field(init=False)
    next: int = 0
    ready: list[FetchTask] = field(default_factory=list)
    """Checked, and not yet on the clock: few, so the first is quick to take. An empty deque takes 700 bytes."""
    in_turn: bool = False
    gone: bool = False
    locked_out: int = 0
    """How many places its owner had been given when it was first seen to have none; 0 where it was not."""
    locked_out_at: float = 0.0
    """When that was, or when its last URLs failed of it."""

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
        task = self.ready.pop(0)
        self.locked_out = 0
        task.admitted, task.deadline = now, now + self.group.options.timeout
        return task

    def refuse(self, failure: Failure, error: Exception | None = None, most: int = AHEAD) -> list[Rejection]:
        """Reject the next few URLs; the next one alone where a bug is why."""
        most = most if error is None else 1
        indices = [task.index for task in self.ready[:most]]
        del self.ready[:most]
        indices += self._pop_next(most - len(indices))
        return [Rejection(self.group, index, failure, 0, error) for index in indices]

    def _pop_next(self, most: int) -> Sequence[int]:
        """Return the next indices that have not begun."""
        begin, self.next = self.next, min(self.next + most, len(self.group.wanted))
        return self.group.wanted[begin : self.next]


class AdmittedTasks:
    """All URLs on the clock: from their admission until their outcome is delivered.

    By group, and there in the order of their deadlines: one group has one time-out.
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[int, FetchTask]] = {}

    def __repr__(self) -> str:
        return f"<AdmittedTasks {sum(map(len, self._groups.values()))} of {len(self._groups)} groups>"

    def __bool__(self) -> bool:
        return bool(self._groups)

    def begin(self, task: FetchTask) -> None:
        """Put a URL on the clock."""
        tasks = self._groups.get(task.group.id)
        if tasks is None:
            tasks = self._groups[task.group.id] = {}
        tasks[task.index] = task

    def end(self, group: FetchGroup, index: int) -> None:
        """Take a URL off the clock: its outcome is delivered."""
        tasks = self._groups.get(group.id)
        if tasks is not None and (task := tasks.pop(index, None)) is not None:
            if not tasks:
                del self._groups[group.id]
            task.move(ENDED)

    def of(self, group: FetchGroup) -> tuple[FetchTask, ...]:
        """Return the URLs of a group that are on the clock."""
        return tuple(self._groups.get(group.id, {}).values())

    def forget(self, group: FetchGroup) -> None:
        """Take all URLs of a group off the clock: nobody wants them any more."""
        for task in self._groups.pop(group.id, {}).values():
            task.move(ENDED)

    def overdue(self, by: float) -> list[FetchTask]:
        """Return those whose deadline was then or earlier."""
        late = []
        for tasks in self._groups.values():
            for task in tasks.values():
                if task.deadline > by:
                    break
                late.append(task)
        return late


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
