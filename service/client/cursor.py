"""Where one stream is: what to ask for, what is new, what is missing. Pure, so that any history can be tried."""

from service.client.values import Gap, Position, Restart, Since

__all__ = ["Cursor"]


class Cursor:
    """The position of a stream on the wire, through any number of connections.

    Of each epoch every offset passes once and in order, or is covered by a gap that passes before the stream
    goes on, whatever comes in between: cuts, repetitions, another epoch.
    """

    def __init__(self, since: Since | None) -> None:
        self._since = since
        self.position: Position | None = None

    def __repr__(self) -> str:
        return f"<Cursor at {self.position or self._since}>"

    @property
    def since(self) -> Since | None:
        """What the next subscription starts from; None leaves it to the service."""
        return self.position or self._since

    def start(self, epoch: str, offset: int) -> Restart | None:
        """Take the answer to a subscription; the value is what the consumer has to know.

        Where part of what was missed is gone in the same epoch, nothing yet: the service sends the gap.
        """
        asked = self.since
        self.position = Position(epoch, offset)
        if not isinstance(asked, Position) or asked == self.position:
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
        position = self.position
        assert position is not None, "no message comes before the answer to its subscription"
        if offset <= position.offset:
            return False, None
        self.position = Position(position.epoch, offset)
        return True, Gap(position.offset + 1, missed) if missed > position.offset else None
