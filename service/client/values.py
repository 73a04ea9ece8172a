"""What streams consist of."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Gap", "Message", "OnLag", "Position", "Restart", "Since"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands: the offset of the last message it had, in one epoch of a topic."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


Since = Literal["newest", "oldest"] | Position
OnLag = Literal["disconnect", "drop_oldest", "latest"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic; ``data`` is its JSON value."""

    topic: str
    epoch: str
    offset: int
    data: Any

    @property
    def position(self) -> Position:
        """What to go on from, in this or a later run of the program."""
        return Position(self.epoch, self.offset)


@dataclass(frozen=True, slots=True)
class Gap:
    """The offsets from ``first`` to ``last`` (inclusive) never come."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The topic is not the one that was being read: ``recovered`` was false, and not for a gap.

    It has another epoch, because it or its service began anew. What followed the last message of the old
    epoch is unknown; from here the stream goes on with the oldest message that the topic keeps, which is
    ``offset + 1`` unless a gap says otherwise.
    """

    epoch: str
    offset: int
