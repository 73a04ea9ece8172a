"""A topic: an epoch, consecutive offsets, and the newest messages, each encoded once.

Theory of operation. Offsets start at 1. ``head`` is the newest offset ever given, ``first`` the oldest
that is still kept, so that ``first == head + 1`` says that nothing is kept. A reader is a cursor: the
offset of the last message it has had. What a reader at one cursor needs next is the same for all
readers at that cursor, so :meth:`Topic.chunk` joins it once and remembers it until the next append.

A topic is a *ring* (bounded in messages, bytes and age; the newest message outlives the first two
bounds) or, with ``limits=None``, a *log*: a batch. A log keeps everything until it is dropped whole, or until
its source gives up the oldest messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.core.owner import SERVICE
from service.core.topics.names import shown
from service.core.topics.position import Position, Since, Start
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.wire import Encoding, gap_chunk, message_data, message_frame, message_prefix

if TYPE_CHECKING:
    from service.core.topics.reader import Reader

__all__ = ["CHUNK", "Position", "RingLimits", "Since", "Start", "Topic"]

CHUNK = 256 * 1024
"""Bytes that one write carries at the most, or one message: a late reader of a large batch is
served in steps, so that what it has not taken yet stays shared in the topic."""

_CHUNKS = 16
"""Joined chunks that a topic remembers: readers at more cursors than that are served one by one."""


@dataclass(frozen=True, slots=True)
class RingLimits:
    """The bounds of one ring: messages, bytes of frames, seconds."""

    messages: int = 1000
    size: int = 1 << 20
    age: float = 300.0


class Topic:
    """A resumable stream of messages; see the module's text for how it works."""

    __slots__ = (
        "_frames",
        "_lost",
        "_memo",
        "_prefix",
        "began",
        "delivered",
        "due",
        "epoch",
        "final",
        "first",
        "fresh",
        "fresh_after",
        "furthest",
        "head",
        "lags",
        "limits",
        "name",
        "on_idle",
        "on_taken",
        "owner",
        "payer",
        "readers",
        "since",
        "size",
        "times",
        "visited",
        "visited_at",
    )  # fmt: skip

    def __init__(
        self, name: str, epoch: str, limits: RingLimits | None, lags: ReaderLosses | None = None, *, head: int = 0
    ) -> None:
        self.name = name
        self.owner = SERVICE
        """For whom it was made: it counts in that client's share of topics."""
        self.payer = SERVICE
        """Whose publish began its ring: the bytes count in that client's share."""
        self.epoch = epoch
        self.limits = limits
        self.lags = lags or ReaderLosses()
        """Where readers count what they missed: the hub has one for all topics."""
        self.head = head
        self.first = head + 1
        self.size = 0
        self.final = False
        """Nothing is ever appended again: a reader that has everything is finished."""
        self.due = False
        self.visited = False
        self.visited_at = head
        """The hub's marks: news since the visit began; a visit is under way; the head when the last one began."""
        self.began = 0.0
        """When the first reader of this visit was visited; 0 before that."""
        self.since = head
        """The head when the visit before that began: later messages are new to readers that keep up."""
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
        self._prefix = message_prefix(name)
        self._frames: list[bytes] = []
        self._lost: set[int] = set()
        """Offsets of messages that were kept and are damaged."""
        self.times: list[float] = []
        """When each message that is kept was appended."""
        self._memo: dict[int, tuple[bytes, int]] = {}
        self.fresh = b""
        self.fresh_after = -1
        """Of a ring: the frames after this offset up to the head, which nearly every visited reader needs next;
        -1 when nobody has asked for them yet."""

    def __repr__(self) -> str:
        return f"<Topic {shown(self.name)} {self.first}..{self.head} {self.size} B {len(self.readers)} readers>"

    @property
    def position(self) -> Position:
        """The position of a reader that has everything."""
        return Position(self.epoch, self.head)

    def append(self, data: bytes, now: float) -> int:
        """Add one message of compact JSON and return its offset; a ring drops what it outgrew."""
        assert not self.final, f"{self.name} has ended"
        self.head += 1
        frame = message_frame(self._prefix, self.head, data)
        self._frames.append(frame)
        self.times.append(now)
        self.size += len(frame)
        if self._memo or self.fresh_after >= 0:
            self.forget()
        if self.limits is not None:
            self._trim(self.limits, now)
        return self.head

    def restore(self, data: bytes | None, at: float) -> None:
        """Add a message that was kept elsewhere; None stands for one that is lost, of which readers get a gap."""
        if data is not None:
            self.append(data, at)
            return
        self.head += 1
        frame = gap_chunk(Encoding.FRAMES, self.name, self.epoch, self.head, self.head)
        self._lost.add(self.head)
        self._frames.append(frame)
        self.times.append(at)
        self.size += len(frame)
        if self.limits is not None:
            self._trim(self.limits, at)

    def skip(self, head: int) -> int:
        """Go on after an offset that lies ahead: nothing up to there is kept; return the bytes freed."""
        freed = self._drop(len(self._frames))
        self.head, self.first = head, head + 1
        return freed

    def begin_anew(self, position: Position) -> int:
        """Go on in another epoch, after a position of that; the topic has no readers. Return the bytes freed."""
        freed = self.skip(position.offset)
        self.epoch = position.epoch
        self.visited_at = self.since = position.offset
        return freed

    def start(self, since: Since) -> Start:
        """Decide where a reader begins; see "Positions" in docs/protocol.md."""
        if since == "newest":
            return Start(self.position, recovered=False)
        if since == "oldest" or since.epoch != self.epoch or since.offset > self.head:
            # Of a batch all events count: a reader that has had none of them learns how many are gone.
            before = 0 if self.limits is None else self.first - 1
            return Start(Position(self.epoch, before), recovered=False)
        return Start(since, recovered=since.offset + 1 >= self.first)

    def chunk(self, after: int, encoding: Encoding) -> tuple[bytes, int]:
        """Return the messages that follow offset ``after``, joined, and the last offset among them.

        ``after`` must be at least ``first - 1`` and less than ``head``. At most :data:`CHUNK` bytes of
        frames, but always one message.
        """
        # An int, because the hash of an enum is a call into Python.
        key = after * 4 + encoding
        known = self._memo.get(key)
        if known is None:
            begin = after + 1 - self.first
            end = self._end_of_chunk(begin)
            if len(self._memo) >= _CHUNKS:
                del self._memo[next(iter(self._memo))]
            known = self._memo[key] = (self._render(begin, end, encoding), self.first + end - 1)
            if encoding is Encoding.FRAMES and known[1] == self.head and self.limits is not None:
                self.fresh, self.fresh_after = known[0], after
        return known

    def size_of(self, offset: int) -> int:
        """Return the bytes of the message at an offset that is kept."""
        return len(self._frames[offset - self.first])

    def forget(self) -> None:
        """Drop joined chunks: there is a newer message, or a visit is over."""
        self._memo.clear()
        self.fresh = b""
        self.fresh_after = -1

    def expire(self, now: float) -> int:
        """Drop what is older than the age limit, the newest message too; return the bytes freed."""
        if self.limits is None or not self.times or now - self.times[0] <= self.limits.age:
            return 0
        old = next((i for i, at in enumerate(self.times) if now - at <= self.limits.age), len(self.times))
        return self._drop(old)

    def shrink(self) -> int:
        """Drop all but the newest message, because memory is short; return the bytes freed."""
        return self._drop(len(self._frames) - 1)

    def give_up(self, through: int, size: int) -> int:
        """Drop the oldest messages up to ``through`` until ``size`` bytes are free; return the bytes freed."""
        most, count, freed = min(through, self.head) + 1 - self.first, 0, 0
        while count < most and freed < size:
            freed += len(self._frames[count])
            count += 1
        return self._drop(count)

    def _trim(self, limits: RingLimits, now: float) -> None:
        over = len(self._frames) - limits.messages
        if over > 0:
            self._drop(over)
        if self.size > limits.size:
            excess, drop = self.size - limits.size, 0
            while excess > 0 and drop < len(self._frames) - 1:
                excess -= len(self._frames[drop])
                drop += 1
            self._drop(drop)
        if now - self.times[0] > limits.age:
            self.expire(now)

    def _drop(self, count: int) -> int:
        if count <= 0:
            return 0
        freed = sum(map(len, self._frames[:count]))
        # One memmove of at most `messages` pointers: 8 KB for the default ring.
        del self._frames[:count]
        del self.times[:count]
        self.first += count
        self.size -= freed
        self._memo.clear()
        if self._lost:
            self._lost = {offset for offset in self._lost if offset >= self.first}
        return freed

    def _end_of_chunk(self, begin: int) -> int:
        if self.size <= CHUNK:
            return len(self._frames)
        end, room = begin + 1, CHUNK - len(self._frames[begin])
        while end < len(self._frames) and (room := room - len(self._frames[end])) >= 0:
            end += 1
        return end

    def _render(self, begin: int, end: int, encoding: Encoding) -> bytes:
        frames = self._frames[begin:end]
        if encoding is Encoding.FRAMES:
            return b"".join(frames) if len(frames) > 1 else frames[0]
        numbered = enumerate(frames, start=self.first + begin)
        if encoding is Encoding.EVENTS and not self._lost:
            return b"".join([message_data(frame, self._prefix, offset) + b"\n" for offset, frame in numbered])
        return b"".join([self._render_one(offset, frame, encoding) for offset, frame in numbered])

    def _render_one(self, offset: int, frame: bytes, encoding: Encoding) -> bytes:
        if offset in self._lost:
            return gap_chunk(encoding, self.name, self.epoch, offset, offset)
        data = message_data(frame, self._prefix, offset)
        if encoding is Encoding.EVENTS:
            return data + b"\n"
        if encoding is Encoding.LINES:
            return b'{"offset":%d,"data":%b}\n' % (offset, data)
        return b"id: %b:%d\ndata: %b\n\n" % (self.epoch.encode(), offset, data)
