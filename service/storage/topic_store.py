"""The topic store on disk: an append is answered when the commit that holds it has reached the disk.

Offsets are given out where a group is prepared: all before it have ended by then, so that what is refused leaves no
hole behind. A topic that has nothing left but its position is kept for a while, as a ring's resumers may come back.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

from service.core.errors import SluiceError, StorageFailed
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pool import Pool
from service.core.ports import KeptTopic, Outcome, PublishKey
from service.core.topics.position import Position
from service.core.topics.retired import RetiredTopics
from service.core.topics.topic import Topic
from service.storage.database import Changes
from service.storage.kept_topics import KeptTopicRows, KeptTopics
from service.storage.key_rows import KeyRows
from service.storage.records import write_message
from service.storage.sweep import Sweep
from service.storage.wall_clock import WallClock
from service.storage.writer import Writer

__all__ = ["DiskStore"]

_RETIRED: Final = 1_000_000
_RETIRED_AGE: Final = 7 * 86_400.0
"""How many topics that nobody needs are kept, and for how many seconds."""
_EACH: Final = 300
"""Bytes that an append holds beside its data while it waits."""
_LOOKED: Final = 5_000
"""Topics that are looked at each second for messages that their rings have given up."""
_SWEPT: Final = 1000
"""Messages of all topics that rings have given up when their rows are deleted, if that is before the next second.
The oldest rows of all topics are neighbours: a page that is written has as many of them as go together."""

_Answer = Callable[[Sequence[Position] | Exception], object]
"""Called once with the positions of a message, or with what has come instead."""


class DiskStore:
    """Keeps topics in the database; ``topics`` is what has been read from it at the start."""

    def __init__(
        self,
        writer: Writer,
        topics: KeptTopics,
        keys: KeyRows,
        clock: WallClock,
        *,
        new_epoch: Callable[[], str],
        key_age: float,
    ) -> None:
        self.retired = RetiredTopics(_RETIRED, _RETIRED_AGE, forgotten=self._forgotten)
        self.pools: Sequence[Pool] = (self.retired.pool,)
        self._writer = writer
        self._topics = topics
        self._clock = clock
        self._new_epoch = new_epoch
        self._key_age = key_age
        self.keys = keys
        self._sweep, self._sweeping = Sweep(self._swept), False
        self._given_up = 0
        self._round: Iterator[KeptTopicRows] = iter(())

    def __repr__(self) -> str:
        return f"<DiskStore {len(self._topics)} topics, {self._writer!r}>"

    def adopt(self) -> Iterator[KeptTopicRows]:
        """Take in what was read at the start: yield topics that have messages; of the others keep the position."""
        for kept in sorted(self._topics, key=attrgetter("used")):
            if kept.messages:
                yield kept
            else:
                kept.retired = True
                self.retired.keep(kept.name, kept.position, Owner(kept.owner), self._clock.to_hub(kept.used))

    def __len__(self) -> int:
        return len(self._topics)

    def durable(self, name: str) -> bool:
        """Return True: all that it has is on disk."""
        return True

    def knows(self, name: str) -> bool:
        """Return whether the topic has a row."""
        return name in self._topics

    def history(self, name: str, owner: Owner) -> KeptTopic:
        """Return what was read at the start, or where the topic stood, or an epoch that the next commit stores."""
        kept = self._topics.get(name)
        if kept is None:
            kept = self._topics.make(name, str(owner), self._new_epoch())
            self._writer.add(_Begin(kept))
        self.retired.pop(name)
        kept.retired = False
        messages, keys = kept.messages, kept.keys
        kept.messages, kept.keys = [], []
        return KeptTopic(kept.position, messages, keys)

    def append(self, topic: Topic, data: bytes, now: float, note: PublishKey | Outcome | None) -> Pending[Position]:
        """Return the position that the next commit gives to the message."""
        answer: Pending[Position] = Pending()
        key = note if isinstance(note, PublishKey) else None
        self._append((topic,), data, now, key, lambda outcome: answer.settle(_first(outcome)))
        return answer

    def append_all(self, topics: Sequence[Topic], data: bytes, now: float) -> Pending[Sequence[Position]]:
        """Return the positions that the next commit gives to the message."""
        answer: Pending[Sequence[Position]] = Pending()
        self._append(topics, data, now, None, answer.settle)
        return answer

    def _append(
        self, topics: Sequence[Topic], data: bytes, now: float, key: PublishKey | None, answer: _Answer
    ) -> None:
        kept = [self._used(topic) for topic in topics]
        self._writer.add(_Append(self, kept, data, self._clock.to_wall(now), key, answer))

    def _used(self, topic: Topic) -> KeptTopicRows:
        kept = self._topics.get(topic.name)
        if kept is None:
            raise StorageFailed("the topic was dropped")
        kept.topic = topic
        return kept

    def retire(self, topic: Topic, now: float) -> None:
        """Keep the position alone."""
        kept = self._topics.get(topic.name)
        if kept is not None:
            kept.topic, kept.retired = None, True
            kept.used = self._clock.to_wall(now)
            self.retired.keep(topic.name, topic.position, topic.owner, now)
            self._sweep.trim(kept)

    def drop(self, topic: Topic) -> None:
        """Delete the topic with all its messages."""
        self.retired.pop(topic.name)
        self._forgotten(topic.name)

    def _forgotten(self, name: str) -> None:
        kept = self._topics.get(name)
        if kept is not None:
            kept.dropped = True
            self._topics.remove(kept)
            self._sweep.delete(kept)

    def expire(self, now: float) -> None:
        """Delete what is too old, and what rings have given up since the last time."""
        self.retired.expire(now)
        self._sweep.keys.extend(self.keys.take_older(self._clock.to_wall(now) - self._key_age))
        for kept in self._next(_LOOKED):
            if kept.overhang:
                self._sweep.trim(kept)
        self.sweep()

    def sweep(self) -> None:
        """Have what is to be deleted deleted."""
        self._given_up = 0
        if self._sweep.due and not self._sweeping:
            # One at a time: a store that is stuck would collect them.
            self._sweeping = True
            sweep, self._sweep = self._sweep, Sweep(self._swept)
            self._writer.add(sweep)

    def _swept(self, sweep: Sweep, done: bool) -> None:
        self._sweeping = False
        if not done:
            self._sweep.add(sweep)

    def _next(self, most: int) -> list[KeptTopicRows]:
        """Go on with the round over all topics."""
        found = list(islice(self._round, most))
        if len(found) < most:
            self._round = iter(list(self._topics))
        return found

    def appended(self, kept: KeptTopicRows) -> None:
        """Take note that a message is in the ring: that may have given up others."""
        topic = kept.topic
        if topic is not None and topic.ring.first > kept.head + 1 - len(kept.rows):
            self._sweep.trim(kept)
            self._given_up += 1
            if self._given_up >= _SWEPT:
                self.sweep()


class _Begin:
    """A topic that is new, or has a new epoch."""

    __slots__ = ("_kept", "size")

    def __init__(self, kept: KeptTopicRows) -> None:
        self._kept = kept
        self.size = _EACH

    def prepare(self, changes: Changes) -> None:
        """Put its row."""
        if not self._kept.dropped:
            self._kept.write(changes)

    def committed(self) -> None:
        """Take note of it."""
        self._kept.stored = True

    def refused(self, error: SluiceError) -> None:
        """Leave it to the first message, which fails as long as storage does."""


class _Append:
    """One message for each of some topics, for all or for none; the key belongs to the first."""

    __slots__ = ("_answer", "_at", "_data", "_key", "_positions", "_store", "_topics", "size")

    def __init__(
        self,
        store: DiskStore,
        topics: Sequence[KeptTopicRows],
        data: bytes,
        at: float,
        key: PublishKey | None,
        answer: _Answer,
    ) -> None:
        self._store = store
        self._topics = topics
        self._data = data
        self._at = at
        self._key = key
        self._answer = answer
        self._positions: list[Position] = []
        self.size = (_EACH + len(data)) * len(topics)

    def prepare(self, changes: Changes) -> None:
        """Give the message its offsets and rows; where a topic was dropped meanwhile there are none."""
        if any(kept.dropped for kept in self._topics):
            return
        for kept in self._topics:
            row = changes.next_row
            kept.head += 1
            kept.rows.append(row)
            self._positions.append(kept.position)
            changes.messages.append(write_message(row, kept.id, kept.head, self._at, self._data))
            if not kept.stored:
                kept.write(changes)
        if self._key is not None:
            self._store.keys.put(changes, self._key, self._topics[0], self._at)

    def committed(self) -> None:
        """Answer with the positions."""
        if not self._positions:
            self._answer(StorageFailed("the topic was dropped"))
            return
        for kept in self._topics:
            kept.stored = True
        self._answer(self._positions)
        for kept in self._topics:
            self._store.appended(kept)

    def refused(self, error: SluiceError) -> None:
        """Take the offsets back; those that came after it in its group are refused with it."""
        for kept in self._topics[: len(self._positions)]:
            kept.head -= 1
            kept.rows.pop()
        self._answer(error)


def _first(outcome: Sequence[Position] | Exception) -> Position | Exception:
    return outcome if isinstance(outcome, Exception) else outcome[0]
