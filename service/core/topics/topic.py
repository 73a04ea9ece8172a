"""A topic: a resumable stream of messages, and the readers that it is brought to.

A reader is a cursor: the offset of the last message it has had. The messages are in the ring
(``core/topics/ring.py``), how far a round over the readers is in the visit (``core/topics/visit.py``).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from service.core.owner import SERVICE
from service.core.topics.names import shown
from service.core.topics.position import Position, Since, Start
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.ring import Ring, RingLimits
from service.core.topics.visit import Visit

if TYPE_CHECKING:
    from service.core.topics.reader import Reader

__all__ = ["Position", "RingLimits", "Since", "Start", "Topic"]


class Topic:
    """One topic, of a client or of the service."""

    __slots__ = (
        "delivered",
        "final",
        "furthest",
        "lags",
        "name",
        "on_idle",
        "on_taken",
        "owner",
        "payer",
        "readers",
        "ring",
        "visit",
    )  # fmt: skip

    def __init__(
        self, name: str, epoch: str, limits: RingLimits | None, lags: ReaderLosses | None = None, *, head: int = 0
    ) -> None:
        self.name = name
        self.ring = Ring(name, Position(epoch, head), limits)
        self.visit = Visit(head)
        self.owner = SERVICE
        """For whom it was made: it counts in that client's share of topics."""
        self.payer = SERVICE
        """Whose publish began its ring: the bytes count in that client's share."""
        self.lags = lags or ReaderLosses()
        """Where readers count what they missed: the hub has one for all topics."""
        self.final = False
        """Nothing is ever appended again: a reader that has everything is finished."""
        # A dict, not a set: visits keep the order in which readers came.
        self.readers: dict[Reader, None] = {}
        self.delivered = 0
        """Messages that readers have taken, one for each reader."""
        self.furthest = 0
        """The highest offset that any reader has taken, or begun after."""
        self.on_idle: Callable[[], None] | None = None
        """Called when the last reader has left; a source decides then how long it goes on."""
        self.on_taken: Callable[[], None] | None = None
        """Called when a reader takes something or leaves, for a source that waits for that."""

    def __repr__(self) -> str:
        return f"<Topic {shown(self.name)} {self.first}..{self.head} {self.size} B {len(self.readers)} readers>"

    @property
    def epoch(self) -> str:
        """What its offsets belong to."""
        return self.ring.epoch

    @property
    def head(self) -> int:
        """The newest offset ever given."""
        return self.ring.head

    @property
    def first(self) -> int:
        """The oldest offset that is kept; one more than the head when nothing is."""
        return self.ring.first

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return self.ring.size

    @property
    def limits(self) -> RingLimits | None:
        """The bounds of its ring; None for a log."""
        return self.ring.limits

    @property
    def position(self) -> Position:
        """The position of a reader that has everything."""
        return Position(self.ring.epoch, self.ring.head)

    def start(self, since: Since) -> Start:
        """Decide where a reader begins; see "Positions" in docs/protocol.md."""
        if since == "newest":
            return Start(self.position, recovered=False)
        if since == "oldest" or since.epoch != self.epoch or since.offset > self.head:
            # Of a batch all events count: a reader that has had none of them learns how many are gone.
            before = 0 if self.limits is None else self.first - 1
            return Start(Position(self.epoch, before), recovered=False)
        return Start(since, recovered=since.offset + 1 >= self.first)
