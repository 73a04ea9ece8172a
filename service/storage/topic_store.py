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
from service.core.pieces import Pieces
from service.core.pool import Pool
from service.core.ports import KeptTopic, PublishKey, UrlOutcome
from service.core.topics.position import Position
from service.core.topics.retired import RetiredTopics
from service.core.topics.topic import Topic
from service.storage.appends import MOST, Append, AppendAll, Appends
from service.storage.database import RowChanges
from service.storage.kept_topics import KeptTopicRows, KeptTopics
from service.storage.key_rows import KeyRows
from service.storage.sweep import Sweep
from service.storage.wall_clock import WallClock
from service.storage.writer import Writer

__all__ = ["DiskStore"]

_RETIRED: Final = 1_000_000
_RETIRED_AGE: Final = 7 * 86_400.0
"""How many topics that nobody needs are kept, and for how many seconds."""
_BEGIN: Final = 300
"""Bytes that a new topic holds while its row waits."""
_LOOKED: Final = 5_000
"""Topics that are looked at each second for messages that their rings have given up."""
_SWEPT: Final = 1000
"""Messages of all topics that rings have given up when their rows are deleted, if that is before the next second.
The oldest rows of all topics are neighbours: a page that is written has as many of them as go together."""


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
        self._appends = Appends(keys, writer.contain, self._appended)
        """The item of the writer that was added last for messages."""
        self._sweep, self._sweeping = Sweep(self._swept), False
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
        history = KeptTopic(kept.position, kept.messages, kept.times, kept.keys)
        kept.messages, kept.times, kept.keys = [], [], []
        return history

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Pending[Position]:
        """Return the position that the next commit gives to the message."""
        key = note if isinstance(note, PublishKey) else None
        append = Append(self._used(topic), bytes(data), self._clock.to_wall(now), key)
        appends = self._appends
        if self._writer.last is not appends or appends.count >= MOST:
            appends = self._appends = Appends(self.keys, self._writer.contain, self._appended)
            self._writer.add(appends)
        appends.add(append)
        return append

    def append_all(self, topics: Sequence[Topic], data: bytes, now: float) -> Pending[Sequence[Position]]:
        """Return the positions that the next commit gives to the message."""
        answer: Pending[Sequence[Position]] = Pending()
        kept = [self._used(topic) for topic in topics]
        self._writer.add(AppendAll(kept, data, self._clock.to_wall(now), answer, self._appended))
        return answer

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
        self._sweep.keys.extend(self.keys.pop_older(self._clock.to_wall(now) - self._key_age))
        for kept in self._next(_LOOKED):
            if kept.overhang:
                self._sweep.trim(kept)
        self.sweep()

    def sweep(self) -> None:
        """Have what is to be deleted deleted."""
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

    def _appended(self, kept: KeptTopicRows) -> None:
        """Record that a message is in the ring: that may have given up others."""
        topic = kept.topic
        if topic is None:
            return
        overhang = topic.ring.first - kept.head - 1 + len(kept.rows)
        if overhang > 0 and self._sweep.cut(kept, overhang) >= _SWEPT:
            self.sweep()


class _Begin:
    """A topic that is new, or has a new epoch."""

    count = 1
    __slots__ = ("_kept", "size")

    def __init__(self, kept: KeptTopicRows) -> None:
        self._kept = kept
        self.size = _BEGIN

    def prepare(self, changes: RowChanges) -> None:
        """Put its row."""
        if not self._kept.dropped:
            self._kept.write(changes)

    def committed(self) -> None:
        """Record it."""
        self._kept.stored = True

    def refused(self, error: SluiceError) -> None:
        """Leave it to the first message, which fails as long as storage does."""
