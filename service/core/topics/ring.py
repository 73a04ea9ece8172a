"""A ring: the newest messages of a topic, each encoded once, and joined once for all who need the same next.

Theory of operation. Offsets start at 1. ``head`` is the newest offset ever given, ``first`` the oldest
that is still kept, so that ``first == head + 1`` says that nothing is kept. What a reader at one cursor
needs next is the same for all readers at that cursor, so :meth:`Ring.chunk` joins it once and remembers
it until the next append.

A ring is bounded in messages, bytes and age; the newest message outlives the first two bounds. With
``limits=None`` it is a *log*: a batch. A log keeps everything until it is dropped whole, or until its
source gives up the oldest messages.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from service.core.pieces import Pieces
from service.core.topics.position import Position
from service.core.topics.wire import Encoding, gap_chunk, message_data, message_frame, message_line, message_prefix

__all__ = ["CHUNK", "History", "Ring", "RingLimits"]

CHUNK: Final = 256 * 1024
"""Bytes that one write carries at most, unless a single message is larger. A late reader of a large batch is
served in steps, so that the messages that it has not taken yet stay shared in the topic."""

_CHUNKS: Final = 16
"""Joined chunks that a ring remembers: readers at more cursors than that are served one by one."""

_ENCODINGS: Final = len(Encoding)
_NONE: Final = frozenset[int]()


@dataclass(frozen=True, slots=True)
class RingLimits:
    """The bounds of one ring: messages, bytes of frames, seconds."""

    messages: int = 1000
    size: int = 1 << 20
    age: float = 300.0


class History(Protocol):
    """What a topic has left to its store (``core/topics/history.py``)."""

    def is_loading(self, after: int) -> bool:
        """Return whether what follows an offset is being read."""
        ...

    def chunk(self, after: int, encoding: Encoding) -> tuple[bytes, int]:
        """Return messages that follow an offset, and the last offset among them; nothing while they are read."""
        ...

    def end(self) -> None:
        """Forget what was read: the topic is gone."""
        ...


class Ring:
    """The messages of one topic in one epoch."""

    __slots__ = (
        "_chunks",
        "_frames",
        "_lost",
        "_name",
        "_prefix",
        "epoch",
        "first",
        "fresh",
        "fresh_after",
        "head",
        "limits",
        "size",
        "spilled",
        "times",
    )  # fmt: skip

    def __init__(self, name: str, position: Position, limits: RingLimits | None) -> None:
        self.epoch = position.epoch
        self.limits = limits
        self.head = position.offset
        self.first = position.offset + 1
        self.size = 0
        """Bytes of frames."""
        self.spilled = 0
        """Of a log that a store keeps: how many messages from ``first`` on are there alone, and not in memory."""
        self.times: list[float] = []
        """When each message that is kept was appended."""
        self.fresh = b""
        self.fresh_after = -1
        """Of a ring with bounds: the frames after this offset up to the head, which nearly every visited reader
        needs next; -1 when nobody has asked for them yet."""
        self._name = name
        self._prefix = message_prefix(name)
        self._frames: list[bytes] = []
        # Nearly always empty: a set for each topic would take 216 bytes.
        self._lost: frozenset[int] = _NONE
        """Offsets of messages that were kept and are damaged."""
        self._chunks: dict[int, tuple[bytes, int]] = {}
        """What was joined, by cursor and encoding, and the last offset in it."""

    def __repr__(self) -> str:
        return f"<Ring {self._name} {self.first}..{self.head} {self.size} B>"

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def loaded(self) -> int:
        """The oldest offset that is in memory; one more than the head when none is."""
        return self.first + self.spilled

    def append(self, data: bytes | Pieces, now: float) -> int:
        """Add one message of compact JSON and return its offset; drop what it has outgrown."""
        self.head += 1
        frame = message_frame(self._prefix, self.head, data)
        self._frames.append(frame)
        self.times.append(now)
        self.size += len(frame)
        if self._chunks or self.fresh_after >= 0:
            self.forget()
        if self.limits is not None:
            self._trim(self.limits, now)
        return self.head

    def restore(self, messages: Sequence[bytes | None], times: Sequence[float]) -> None:
        """Add messages that were kept elsewhere, with their times.

        None stands for one that is damaged: readers get a gap of it.
        """
        frames, lost = self.frames_of(messages, self.head + 1)
        self._frames.extend(frames)
        if lost:
            self._lost |= lost
        self.times.extend(times)
        self.head += len(frames)
        self.size += sum(map(len, frames))
        if self.limits is not None and self.times:
            self._trim(self.limits, self.times[-1])

    def skip(self, head: int) -> int:
        """Go on after an offset that lies ahead: nothing up to there is kept; return the bytes freed."""
        freed = self._drop(len(self._frames))
        self.forget()
        self.spilled = 0
        self.head, self.first = head, head + 1
        return freed

    def begin_anew(self, position: Position) -> int:
        """Go on in another epoch, after a position of that; return the bytes freed."""
        freed = self.skip(position.offset)
        self.epoch = position.epoch
        return freed

    def chunk(self, after: int, encoding: Encoding) -> tuple[bytes, int]:
        """Return the messages that follow offset ``after``, joined, and the last offset among them.

        ``after`` must be less than ``head``, and the message after it in memory. At most :data:`CHUNK` bytes
        of frames, but always one message.
        """
        # An int, because the hash of an enum is a call into Python.
        key = after * _ENCODINGS + encoding
        known = self._chunks.get(key)
        if known is None:
            begin = after + 1 - self.first - self.spilled
            end = self._end_of_chunk(begin)
            if len(self._chunks) >= _CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            chunk = self.render(self._frames[begin:end], after + 1, encoding, self._lost)
            known = self._chunks[key] = (chunk, after + end - begin)
            if encoding is Encoding.FRAMES and known[1] == self.head and self.limits is not None:
                self.fresh, self.fresh_after = known[0], after
        return known

    def size_of(self, offset: int) -> int:
        """Return the bytes of the message at an offset that is kept."""
        return len(self._frames[offset - self.first - self.spilled])

    def data(self, offset: int) -> bytes | None:
        """Return the data of a message that is kept; None where it is damaged."""
        if offset in self._lost:
            return None
        return bytes(message_data(self._frames[offset - self.loaded]))

    def parts(self, offset: int, encoding: Encoding) -> Sequence[bytes | memoryview]:
        """Return a message that is in memory, in a reader's encoding: its parts, and no copy of a large one."""
        return self._parts(offset, self._frames[offset - self.loaded], encoding, self._lost)

    def forget(self) -> None:
        """Drop joined chunks: there is a newer message, or a visit is over."""
        self._chunks.clear()
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
        most, count, freed = min(through, self.head) + 1 - self.loaded, 0, 0
        while count < most and freed < size:
            freed += len(self._frames[count])
            count += 1
        return self._drop(count)

    def spill(self, size: int) -> int:
        """Drop the oldest messages from memory, until ``size`` bytes are free; return the bytes freed.

        They count as kept: readers get them from the store.
        """
        first = self.first
        freed = self.give_up(self.head, size)
        self.spilled += self.first - first
        self.first = first
        return freed

    def frames_of(self, messages: Sequence[bytes | None], first: int) -> tuple[list[bytes], set[int]]:
        """Encode messages of a store, the first of which has this offset; also return which are lost."""
        frames, lost = [], set()
        for offset, data in enumerate(messages, first):
            if data is None:
                lost.add(offset)
                frames.append(gap_chunk(Encoding.FRAMES, self._name, self.epoch, offset, offset))
            else:
                frames.append(message_frame(self._prefix, offset, data))
        return frames, lost

    def render(self, frames: Sequence[bytes], first: int, encoding: Encoding, lost: Collection[int]) -> bytes:
        """Join messages, the first of which has this offset, in a reader's encoding."""
        if encoding is Encoding.FRAMES:
            return b"".join(frames) if len(frames) > 1 else frames[0]
        if encoding is Encoding.EVENTS and not lost:
            return b"\n".join([*map(message_data, frames), b""])
        numbered = enumerate(frames, first)
        return b"".join([part for offset, frame in numbered for part in self._parts(offset, frame, encoding, lost)])

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
        frames = self._frames
        # Nearly always one, of a ring that is full.
        freed = len(frames[0]) if count == 1 else sum(map(len, frames[:count]))
        # One memmove of at most `messages` pointers: 8 KB for the default ring.
        del frames[:count], self.times[:count]
        self.first += count
        self.size -= freed
        self._chunks.clear()
        if self._lost:
            self._lost = frozenset(offset for offset in self._lost if offset >= self.first)
        return freed

    def _end_of_chunk(self, begin: int) -> int:
        if self.size <= CHUNK:
            return len(self._frames)
        end, room = begin + 1, CHUNK - len(self._frames[begin])
        while end < len(self._frames) and (room := room - len(self._frames[end])) >= 0:
            end += 1
        return end

    def _parts(
        self, offset: int, frame: bytes, encoding: Encoding, lost: Collection[int]
    ) -> tuple[bytes | memoryview, ...]:
        if offset in lost:
            return (gap_chunk(encoding, self._name, self.epoch, offset, offset),)
        if encoding is Encoding.FRAMES:
            return (frame,)
        data = message_data(frame)
        if encoding is Encoding.EVENTS:
            return data, b"\n"
        if encoding is Encoding.LINES:
            return message_line(offset, data)
        return b"id: %b:%d\ndata: " % (self.epoch.encode(), offset), data, b"\n\n"
