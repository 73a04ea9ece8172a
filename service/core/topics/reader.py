"""A reader: a cursor in a topic, and what happens when the ring has moved past it."""

from enum import StrEnum

from service.core.topics.names import shown
from service.core.topics.ring import Ring
from service.core.topics.topic import Position, Since, Start, Topic
from service.core.topics.wire import Encoding, gap_chunk

__all__ = ["OnLag", "Reader", "default_on_lag"]

_GONE = 1 << 62
"""An offset beyond all: a visit passes over a reader that was detached while the visit ran."""


class OnLag(StrEnum):
    """A reader's declared policy for the case that the ring's tail has passed its cursor."""

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST = "latest"


def default_on_lag(topic: str) -> OnLag:
    """Return the policy of a reader that declares none: of a watched URL the newest state is what counts."""
    return OnLag.LATEST if topic.startswith("watch:") else OnLag.DISCONNECT


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
    def overtaken(self) -> bool:
        """Whether the ring has moved past a reader that is to be disconnected for it: :meth:`take` evicts it.

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

    def take(self) -> bytes:
        """Return the next bytes for this reader and move its cursor; empty when there is nothing.

        A lagging reader first gets its gap; under ``disconnect`` it is evicted instead.
        """
        ring = self.ring
        if self.offset >= ring.head:
            return b""
        if self.offset + 1 < ring.first:
            return self._lagged(ring)
        chunk, last = ring.chunk(self.offset, self.encoding)
        self.advance(last)
        topic = self.topic
        if last > topic.furthest:
            topic.furthest = last
        if topic.on_taken is not None:
            topic.on_taken()
        if topic.final and last == ring.head:
            self.detach()
            self.finished()
        return chunk

    def advance(self, offset: int, missed: int = 0) -> None:
        """Move the cursor: the messages up to an offset are brought to the peer, but for those that it missed."""
        self.topic.delivered += offset - self.offset - missed
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
        self.advance(last, missed=last - before)
        self.topic.lags.gap(cause, last - before)
        return self.gap(before + 1, last)

    def end_lagging(self) -> None:
        """End a reader that falls behind, as its policy has it."""
        self.topic.lags.evicted += 1
        self.detach()
        self.evict()

    def visit(self) -> None:
        """Send what is new, as far as the peer takes it; never waits."""
        raise NotImplementedError

    def evict(self) -> None:
        """End the connection of a reader that fell behind."""
        raise NotImplementedError

    def finished(self) -> None:
        """Take note that the topic has ended and this reader has had all of it."""
