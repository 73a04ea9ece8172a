"""Where a reader stands in a topic, and where it starts."""

from dataclasses import dataclass
from typing import Literal

import msgspec

__all__ = ["Position", "Since", "Start"]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a reader stands: the offset of the last message it had, in one epoch."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


Since = Literal["newest", "oldest"] | Position


@dataclass(frozen=True, slots=True)
class Start:
    """What a reader gets first: where it starts, and whether that is just after where it was.

    Where part of what it missed is gone, the stream itself begins with the gap.
    """

    position: Position
    recovered: bool
