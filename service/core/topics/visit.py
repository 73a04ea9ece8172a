"""One topic's visit: the round in which each of its readers is brought what it has not had.

Theory of operation. An append wakes the visit; from the next loop turn on it goes through the readers that were
there when its round began, in as many slices as that takes. What is appended meanwhile may come after the turn of
some of them, so the round is followed by another. A topic that nobody reads is not visited.

    state      | woken     | through
    -----------|-----------|-----------
    IDLE       | SCHEDULED |
    SCHEDULED  | SCHEDULED | UNDER_WAY
    UNDER_WAY  | AGAIN     | IDLE
    AGAIN      | AGAIN     | UNDER_WAY

*Woken*: there is news. *Through*: no reader is left of the round, or none has begun; a round begins with UNDER_WAY.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

__all__ = ["State", "Visit"]


class State(IntEnum):
    """How far a visit is; from SCHEDULED on there is news that the round may not bring to all."""

    IDLE = 0
    UNDER_WAY = 1
    SCHEDULED = 2
    AGAIN = 3


_WOKEN: Final = {
    State.IDLE: State.SCHEDULED,
    State.SCHEDULED: State.SCHEDULED,
    State.UNDER_WAY: State.AGAIN,
    State.AGAIN: State.AGAIN,
}
_THROUGH: Final = {
    State.SCHEDULED: State.UNDER_WAY,
    State.UNDER_WAY: State.IDLE,
    State.AGAIN: State.UNDER_WAY,
}
_NOBODY: Final[Iterator[Any]] = iter(())
Reader = TypeVar("Reader")


class Visit(Generic[Reader]):
    """How far the readers of one topic have been visited."""

    __slots__ = ("began", "head", "head_before", "readers", "state")

    def __init__(self, head: int) -> None:
        self.state = State.IDLE
        self.readers: Iterator[Reader] = _NOBODY
        """Those of this round whose turn comes yet."""
        self.head = head
        """The topic's head when this round began, or the last one."""
        self.head_before = head
        """That of the round before: later messages are new to readers that keep up."""
        self.began = 0.0
        """When the first reader of this round was visited; 0 before that."""

    def __repr__(self) -> str:
        return f"<Visit {self.state.name} at {self.head}>"

    def wake(self) -> bool:
        """Take note of news; return whether the visit has to be queued for that."""
        before = self.state
        self.state = _WOKEN[before]
        return before is State.IDLE

    def next_round(self, head: int, readers: Iterable[Reader]) -> bool:
        """End a round, and begin one with these readers if there is news; return whether there is."""
        self.state = _THROUGH[self.state]
        if self.state is State.IDLE:
            self.readers = _NOBODY
            return False
        self.readers = iter(tuple(readers))
        self.head_before, self.head = self.head, head
        return True

    def begin_anew(self, head: int) -> None:
        """Go on in another epoch of the topic, which has no readers now."""
        self.head = self.head_before = head
