"""Where one stream is: what to ask for, what is new, what is missing. Pure, so that any history can be tried."""

from typing import Literal

from .values import Gap, Position, Restart

__all__ = ["Cursor"]


class Cursor:
    """The position of a stream on the wire, through any number of connections.

    Of each epoch every offset passes once and in order, or is covered by a gap that passes before the stream
    goes on through everything that may come in between: cuts, repetitions, another epoch.
    """

    __slots__ = ("_since", "epoch", "offset")

    def __init__(self, since: Literal["newest", "oldest"] | Position | None) -> None:
        self._since = since
        self.epoch = ""
        self.offset = -1

    def __repr__(self) -> str:
        return f"<Cursor at {self.position or self._since}>"

    @property
    def position(self) -> Position | None:
        """The position; None until the stream has begun."""
        return Position(self.epoch, self.offset) if self.epoch else None

    @property
    def since(self) -> Literal["newest", "oldest"] | Position | None:
        """What the next subscription starts from; None leaves it to the service."""
        return self.position or self._since

    def start(self, epoch: str, offset: int, asked: Position | None = None) -> Restart | None:
        """Take the answer to a subscription; the value is what the consumer has to know.

        ``asked`` is where a shared subscription was asked to start, if that was not this stream's own place.
        Where part of what was missed is gone in the same epoch, nothing yet: the service sends the gap.
        """
        mine = self.since
        if isinstance(mine, Position) and self.epoch == epoch and _stands(mine, Position(epoch, offset), asked):
            return None
        self.epoch, self.offset = epoch, offset
        if not isinstance(mine, Position) or mine == Position(epoch, offset):
            return None
        return Restart(epoch, offset)

    def message(self, offset: int) -> tuple[bool, Gap | None]:
        """Take the offset of a message; return whether it is new, and what of those before it never came."""
        return self._pass(offset, offset - 1)

    def gap(self, first: int, last: int) -> Gap | None:
        """Take a gap; return what of it is new."""
        new, gap = self._pass(last, last)
        return gap if new else None

    def _pass(self, offset: int, missed: int) -> tuple[bool, Gap | None]:
        assert self.epoch, "no message comes before the answer to its subscription"
        before = self.offset
        if offset <= before:
            return False, None
        self.offset = offset
        return True, Gap(before + 1, missed) if missed > before else None


def _stands(mine: Position, answered: Position, asked: Position | None) -> bool:
    """Return whether a place in the right epoch is still there, going by the answer for another stream's place."""
    if asked is None or asked == mine:
        return False
    return asked.epoch != answered.epoch or asked == answered
