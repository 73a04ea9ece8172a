"""The hub: appends go to the store and into rings, and every reader is brought what it has not had.

An append marks its topic; ``core/topics/visits.py`` then brings each of its readers what it has not had. What gives
way when the rings outgrow their bound is decided in ``core/topics/rings.py``.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Final

from service.core.containment import Containment
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import Clock, PublishKey, TopicStore, UrlOutcome
from service.core.topics.directory import HubLimits, TopicDirectory
from service.core.topics.topic import Position, Reader, Since, Start, Topic
from service.core.topics.visits import Visits, VisitState

__all__ = ["Hub", "HubLimits", "HubStatistics"]


_SCHEDULED: Final = VisitState.SCHEDULED


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """A snapshot: counts now, and totals since the start."""

    topics: int
    readers: int
    ring_bytes: int
    log_bytes: int
    published: int
    delivered: int
    shrunk: int


class Hub(TopicDirectory):
    """All topics; pure: the shell passes the time, and ``call_soon`` to be called back next loop turn.

    ``clock`` tells the time by which visits are measured; publishers take ``now`` from it too.
    """

    def __init__(
        self,
        limits: HubLimits,
        store: TopicStore,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Clock,
    ) -> None:
        contain = Containment(call_soon)
        super().__init__(limits, store, contain, clock, self.wake)
        self.published = 0
        """Messages appended since the start."""
        self._visits = Visits(limits.slice_readers, contain, call_soon=call_soon, clock=clock)
        self.latency = self._visits.latency

    def check_room(self, names: Collection[str], size: int, owner: Owner) -> None:
        """Make room for a message of this many bytes in each of these topics; raise LimitReached or Overloaded."""
        if missing := len({name for name in names if name not in self.topics}):
            self.owners.check(owner, missing)
        self.rings.make_room(None, owner, size * len(names))
        self.pending_appends.check(owner, size * len(names))

    def publish(
        self, name: str, data: bytes, now: float, *, key: str | None = None, owner: Owner = SERVICE
    ) -> Position | Pending[Position]:
        """Append for a client: make the topic when it is missing; the same key of one owner publishes once.

        Raises LimitReached (topics, keys) and Overloaded (memory of all rings, or of what waits for the store).
        What is pending may also end with StorageFailed.
        """
        if key is None:
            return self._publish(name, data, now, None, owner)
        before = self.keys.get(owner, (name, key), now)
        if before is None:
            # Checked before the append: a full store of keys refuses the publish, not only its repetition.
            self.keys.check(owner, now)
            before = self._publish(name, data, now, PublishKey(owner, key), owner)
            self.keys.put(owner, (name, key), before, now)
        return before

    def _publish(
        self, name: str, data: bytes, now: float, key: PublishKey | None, owner: Owner
    ) -> Position | Pending[Position]:
        topic = self.topics.get(name)
        self.rings.make_room(topic, owner, len(data))
        if self.pending_appends.pool.used:
            self.pending_appends.check(owner, len(data))
        if topic is None:
            opened = self.ring(name, owner=owner)
            if isinstance(opened, Pending):
                return self._publish_opened(opened, name, data, now, key, owner)
            topic = opened
        self.rings.pay(topic, owner, len(data))
        position = self.store.append(topic, data, now, key)
        if isinstance(position, Pending):
            self._await(topic, data, now, owner, position)
        else:
            self._append(topic, data, now)
        return position

    def _publish_opened(
        self, opened: Pending[Topic], name: str, data: bytes, now: float, key: PublishKey | None, owner: Owner
    ) -> Pending[Position]:
        """Publish to a topic that is about to be there."""
        self.pending_appends.add(name, owner, len(data))
        opened.on_settled(lambda _: self.pending_appends.settled(name, owner, len(data)))
        return opened.then(lambda _: self._publish(name, data, now, key, owner))

    def publish_all(
        self, names: Sequence[str], data: bytes, now: float, owner: Owner = SERVICE
    ) -> Sequence[Position] | Pending[Sequence[Position]]:
        """Append one message to each of these topics, or to none; their names differ.

        Topics that the store has to be asked for are opened before, by :meth:`ring`. Raises the errors of
        :meth:`publish`.
        """
        self.check_room(names, len(data), owner)
        topics = [self.own(name, owner=owner) for name in names]
        positions = self.store.append_all(topics, data, now)
        for number, topic in enumerate(topics):
            self.rings.pay(topic, owner, len(data))
            if isinstance(positions, Pending):
                each = positions.then(itemgetter(number))
                self._await(topic, data, now, owner, each)
            else:
                self._append(topic, data, now)
        return positions

    def reserve(self, names: Collection[str], size: int, owner: Owner) -> None:
        """Reserve room for a message of this many bytes in each of these topics; raise as :meth:`check_room` does.

        :meth:`append_reserved` uses the room, for a part of the topics at a time.
        """
        self.check_room(names, size, owner)
        self.rings.pool.charge(owner, size * len(names))

    def release_reserved(self, names: Collection[str], size: int, owner: Owner) -> None:
        """Give back what was reserved for these topics, and is not used."""
        self.rings.pool.release(owner, size * len(names))

    def append_reserved(self, names: Sequence[str], data: bytes, now: float, owner: Owner) -> Sequence[Position]:
        """Append one message to these topics, for which there is room; their store answers at once.

        One that was opened for that, and forgotten since because it was empty, is opened again.
        """
        self.release_reserved(names, len(data), owner)
        topics = [self.topics.get(name) or self.reopen(name, owner) for name in names]
        positions = self.store.append_all(topics, data, now)
        assert not isinstance(positions, Pending)
        for topic in topics:
            self.rings.pay(topic, owner, len(data))
            self._append(topic, data, now)
        return positions

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, outcome: UrlOutcome | None = None
    ) -> Position | Pending[Position]:
        """Append for a source, and have every reader visited in the loop turn after that; return the position.

        The event of a batch has an ``outcome``.
        """
        position = self.store.append(topic, data, now, outcome)
        if isinstance(position, Pending):
            self._await(topic, data, now, topic.owner, position)
        else:
            self._append(topic, data, now)
        return position

    def add_stored(self, topic: Topic, data: bytes) -> None:
        """Append to a topic that was adopted what its source has stored."""
        self._append(topic, data, self.clock())

    def _await(
        self, topic: Topic, data: bytes | Pieces, now: float, owner: Owner, position: Pending[Position]
    ) -> None:
        self.pending_appends.add(topic.name, owner, len(data))
        position.on_settled(partial(self._stored, topic, data, now, owner))

    def _stored(
        self, topic: Topic, data: bytes | Pieces, now: float, owner: Owner, outcome: Position | Exception
    ) -> None:
        """Take the store's answer: only now is the message there for anyone."""
        self.pending_appends.settled(topic.name, owner, len(data))
        if isinstance(outcome, Exception) or self.topics.get(topic.name) is not topic:
            return
        ring = topic.ring
        if outcome.epoch != ring.epoch:
            self._begin_anew(topic, outcome)
        if outcome.offset > ring.head + 1:
            self._freed(topic, ring.skip(outcome.offset - 1))
        if outcome.offset == ring.head + 1:
            self._append(topic, data, now)

    def _begin_anew(self, topic: Topic, first: Position) -> None:
        """Go on in another epoch; readers come back and learn of it."""
        self._evict_all(topic)
        before = Position(first.epoch, first.offset - 1)
        self._freed(topic, topic.ring.begin_anew(before))
        topic.visit.begin_anew(before.offset)

    def _append(self, topic: Topic, data: bytes | Pieces, now: float) -> None:
        ring, visit = topic.ring, topic.visit
        before = ring.size
        assert not topic.final, f"{topic.name} has ended"
        ring.append(data, now)
        self.published += 1
        if ring.limits is None:
            self.log_bytes += ring.size - before
        else:
            self.rings.grown(topic, ring.size - before)
            if visit.state and ring.head - visit.head > ring.limits.messages // 4:
                self._visits.pressed.add(topic)
        if visit.state < _SCHEDULED:
            self._visits.wake(topic)

    @property
    def pressed(self) -> bool:
        """Whether a ring fills faster than its visits go round; publishers then let the loop turn.

        Otherwise a burst could move the ring past readers that are ready, but whose turn has not come.
        """
        return bool(self._visits.pressed)

    def is_visiting_many(self) -> bool:
        """Return whether the present visits of readers take more than one turn of the loop."""
        return self._visits.going_on

    def attach(self, reader: Reader, since: Since) -> Start:
        """Let a reader join its topic: it is visited if it is behind, and finished if it has had all of it."""
        start = reader.attach(since)
        if reader.behind:
            self.wake(reader.topic)
        elif reader.topic.final:
            reader.detach()
            reader.finished()
        return start

    def finish(self, topic: Topic) -> None:
        """Say that the topic is complete: readers that have had all of it are finished."""
        topic.final = True
        for reader in tuple(topic.readers):
            if not reader.behind:
                self._contain(_finish, reader)

    def conclude(self, topic: Topic, last: bytes) -> None:
        """Forget a complete topic whose messages are gone: readers that are behind get a gap, then ``last``."""
        if not self._remove(topic):
            return
        ring = topic.ring
        ring.skip(ring.head - 1)
        ring.append(last, self.clock())
        for reader in topic.readers:
            reader.resuming = True  # the service made them lag, so their policy does not count
        self.wake(topic)

    def wake(self, topic: Topic) -> None:
        """Have all readers of the topic visited, from the next loop turn on."""
        self._visits.wake(topic)

    def statistics(self) -> HubStatistics:
        """Return an immutable snapshot."""
        readers, delivered = 0, self.settled
        for topic in self.topics.values():
            if topic.readers or topic.delivered:
                readers += len(topic.readers)
                delivered += topic.delivered
        return HubStatistics(
            topics=len(self.topics),
            readers=readers,
            ring_bytes=self.rings.pool.used,
            log_bytes=self.log_bytes,
            published=self.published,
            delivered=delivered,
            shrunk=self.rings.shrunk,
        )


def _finish(reader: Reader) -> None:
    reader.detach()
    reader.finished()
