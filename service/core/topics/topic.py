"""A topic: a resumable stream of messages, and the readers that it is brought to.

A reader is a cursor: the offset of the last message it has had. The messages are in the ring
(``core/topics/ring.py``), how far a round over the readers is in the visit (``core/topics/visits.py``).
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from service.core.owner import SERVICE
from service.core.topics.names import shown
from service.core.topics.position import Position, Since, Start
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.ring import History, Ring, RingLimits
from service.core.topics.visits import Visit
from service.core.topics.wire import Encoding, gap_chunk

__all__ = ["OnLag", "Position", "Reader", "RingLimits", "Since", "Start", "Topic", "default_on_lag"]

_GONE: Final = 1 << 62
"""An offset beyond all: a visit passes over a reader that was detached while the visit ran."""


class OnLag(StrEnum):
    """A reader's declared policy for the case that the ring's tail has passed its cursor."""

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST = "latest"


def default_on_lag(topic: str) -> OnLag:
    """Return the policy of a reader that declares none: of a watched URL the newest state is what counts."""
    return OnLag.LATEST if topic.startswith("watch:") else OnLag.DISCONNECT


class Topic:
    """One topic, of a client or of the service."""

    __slots__ = (
        "delivered",
        "earlier",
        "final",
        "furthest",
        "history",
        "lags",
        "majority",
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
        """Who has filled most of its ring: the bytes count in that client's share."""
        self.majority = 0
        """How many bytes more that client has published than all others, about."""
        self.lags = lags or ReaderLosses()
        """Where readers count what they missed: the hub has one for all topics."""
        self.final = False
        """Nothing is ever appended again: a reader that has everything is finished."""
        self.earlier = 0
        """Up to which offset all is of runs before the one of now, for a job that runs once more."""
        self.history: History | None = None
        """Where readers get what is not in memory any more; None where everything that is kept is."""
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


class Reader:
    """A cursor. It has no queue: what it has not had yet is in the topic, for all readers once.

    The edge subclasses it: :meth:`visit` is called when there is news, :meth:`evict` when the policy
    says that a lagging reader goes, and :meth:`finished` when it has had the last message of a topic
    that has ended. After those two it is detached already.
    """

    __slots__ = ("encoding", "offset", "on_lag", "resuming", "ring", "stalled_at", "topic")

    def __init__(self, topic: Topic, encoding: Encoding, on_lag: OnLag) -> None:
        self.topic = topic
        self.ring = topic.ring
        self.encoding = encoding
        self.on_lag = on_lag
        self.offset = _GONE
        self.resuming = False
        self.stalled_at: object = None
        """The progress at which it was found to take nothing for too long; it counts until there is some."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown(self.topic.name)} at {self.offset} of {self.topic.head}>"

    @property
    def attached(self) -> bool:
        """Whether the topic knows this reader."""
        return self.offset != _GONE

    @property
    def behind(self) -> bool:
        """Whether there is something that this reader has not had."""
        return self.offset < self.ring.head

    @property
    def loading(self) -> bool:
        """Whether what this reader needs next is being read from the store; it is visited when that is here."""
        history = self.topic.history
        return history is not None and history.is_loading(self.offset)

    @property
    def overtaken(self) -> bool:
        """Whether the ring has moved past a reader that is to be disconnected for it: :meth:`read` evicts it.

        A reader whose peer takes nothing is not asked for bytes, but its policy counts from this moment on.
        """
        return self.offset + 1 < self.ring.first and self.on_lag is OnLag.DISCONNECT and not self.resuming

    @property
    def progress(self) -> object:
        """What changes when the peer takes something, also while one large message is on its way."""
        return self.offset

    @property
    def stalled(self) -> bool:
        """Whether nobody waits for this reader any more: it has taken nothing since it was found to."""
        return self.stalled_at is not None and self.stalled_at == self.progress

    @property
    def position(self) -> Position:
        """What to resume from."""
        return Position(self.ring.epoch, self.offset)

    def attach(self, since: Since) -> Start:
        """Join the topic; the caller tells the start before the first visit comes."""
        topic = self.topic
        start = topic.start(since)
        self.offset = start.position.offset
        # Of what came before a reader wants to begin it takes nothing.
        topic.furthest = max(topic.furthest, self.offset)
        # History trimmed before this reader attached is not lag: it is reported as a gap under every policy.
        self.resuming = self.offset + 1 < topic.first
        topic.readers[self] = None
        return start

    def detach(self) -> None:
        """Leave the topic; calling it again is harmless."""
        if self.offset == _GONE:
            return
        self.offset = _GONE
        topic = self.topic
        del topic.readers[self]
        if topic.on_taken is not None:
            topic.on_taken()
        if not topic.readers:
            self.ring.forget()
            if topic.on_idle is not None:
                topic.on_idle()

    def gap(self, first: int, last: int) -> bytes:
        """Encode a gap for this reader."""
        return gap_chunk(self.encoding, self.topic.name, self.topic.epoch, first, last)

    def read(self) -> bytes:
        """Return the next bytes for this reader and move its cursor; empty when there is nothing, or not yet.

        A lagging reader first gets its gap; under ``disconnect`` it is evicted instead.
        """
        ring = self.ring
        if self.offset >= ring.head:
            return b""
        if self.offset + 1 < ring.first:
            return self._lagged(ring)
        if self.offset + 1 < ring.first + ring.spilled:
            assert self.topic.history is not None
            chunk, last = self.topic.history.chunk(self.offset, self.encoding)
            if not chunk:
                return b""
        else:
            chunk, last = ring.chunk(self.offset, self.encoding)
        self._take(last)
        return chunk

    def read_large(self) -> Sequence[bytes | memoryview]:
        """Return the parts of the next message, and move the cursor past it: it is in memory, and is not copied."""
        parts = self.ring.parts(self.offset + 1, self.encoding)
        self._take(self.offset + 1)
        return parts

    def _take(self, last: int) -> None:
        self.advance(last)
        topic = self.topic
        topic.furthest = max(topic.furthest, last)
        if topic.on_taken is not None:
            topic.on_taken()
        if topic.final and last == self.ring.head:
            self.detach()
            self.finished()

    def advance(self, offset: int) -> None:
        """Move the cursor: the messages up to an offset are brought to the peer."""
        self.topic.delivered += offset - self.offset
        self.offset = offset

    def _lagged(self, ring: Ring) -> bytes:
        if self.on_lag is OnLag.DISCONNECT and not self.resuming:
            self.end_lagging()
            return b""
        before = self.offset
        newest = ring.first <= ring.head and self.on_lag is OnLag.LATEST and not self.resuming
        cause = "resume" if self.resuming else self.on_lag.value
        self.resuming = False
        last = ring.head - 1 if newest else ring.first - 1
        self.advance(last)
        self.topic.delivered -= last - before  # it gets the gap in their place
        self.topic.lags.gap(cause, last - before)
        return self.gap(before + 1, last)

    def end_lagging(self) -> None:
        """End a reader that falls behind, as its policy has it."""
        self.topic.lags.evicted += 1
        self.cut()

    def cut(self) -> None:
        """Leave the topic, and end the connection."""
        self.detach()
        self.evict()

    def visit(self) -> None:
        """Send what is new, as far as the peer takes it; never waits."""
        raise NotImplementedError

    def evict(self) -> None:
        """End the connection of a reader that fell behind."""
        raise NotImplementedError

    def finished(self) -> None:
        """Record that the topic has ended and this reader has had all of it."""
