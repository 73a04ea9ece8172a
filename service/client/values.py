"""What streams consist of, and what a client says of its connection."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["Gap", "Message", "OnLag", "Position", "Restart", "Since", "State", "parse_since"]

_POSITION: Final = re.compile(r"(.+):([0-9]{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands: the offset of the last message it had, in one epoch of a topic."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that a text ``EPOCH:OFFSET`` stands for; raises ValueError."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a position: it needs the form EPOCH:OFFSET")
        return cls(found[1], int(found[2]))


OnLag = Literal["disconnect", "drop_oldest", "latest"]


@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One message of a topic; ``data`` is its JSON value."""

    topic: str
    epoch: str
    offset: int
    data: Any

    def __init__(self, topic: str, epoch: str, offset: int, data: Any) -> None:
        # The one that dataclass makes takes twice as long, which is a tenth of what receiving a message takes.
        _set_topic(self, topic)
        _set_epoch(self, epoch)
        _set_offset(self, offset)
        _set_data(self, data)

    @property
    def position(self) -> Position:
        """What to go on from, in this or a later run of the program."""
        return Position(self.epoch, self.offset)


_set_topic, _set_epoch, _set_offset, _set_data = (
    Message.__dict__[name].__set__ for name in ("topic", "epoch", "offset", "data")
)

Since = Literal["newest", "oldest"] | Position | Message | str
"""Where a stream begins; a message stands for its position, and other texts than the two words are positions as
``EPOCH:OFFSET``."""


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


@dataclass(frozen=True, slots=True)
class State:
    """The state of a client's connection.

    ``code`` and ``reason`` say why the last connection ended; ``after`` is the wait for the next attempt, in
    seconds.
    """

    state: Literal["connecting", "open", "closing", "waiting", "closed"]
    code: int | None = None
    reason: str = ""
    after: float | None = None


def parse_since(since: Since | None) -> Literal["newest", "oldest"] | Position | None:
    """Return where to begin, with a position as such; raises ValueError."""
    if since is None or since == "newest" or since == "oldest":
        return since  # type: ignore[return-value]
    if isinstance(since, str):
        return Position.parse(since)
    if isinstance(since, Message):
        return since.position
    if not isinstance(since, Position) or not isinstance(since.epoch, str) or type(since.offset) is not int:
        raise ValueError(f"{since!r} is not a position")
    return since
