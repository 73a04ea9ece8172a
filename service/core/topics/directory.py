"""Every topic by name: opened from the store, counted for its owner, aged, and forgotten."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import inf

from service.core.containment import Containment
from service.core.errors import NotFound, StorageFailed
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending
from service.core.pool import Pool
from service.core.ports import Clock, KeptTopic, TopicStore
from service.core.topics.history import Pages, StoredHistory
from service.core.topics.idempotency import KeyStore
from service.core.topics.names import is_reserved, is_watch
from service.core.topics.pending_appends import PendingAppends
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.rings import Rings
from service.core.topics.topic import Position, RingLimits, Topic

__all__ = ["HubLimits", "TopicDirectory"]


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds over all topics. ``slice_readers`` are visited at a time, or fewer where that takes long."""

    ring: RingLimits = field(default_factory=RingLimits)
    watch_ring: RingLimits = field(default_factory=lambda: RingLimits(messages=100, size=1 << 20, age=inf))
    """The last state of a watched URL stays for late joiners, however long ago it changed."""
    topics: int = 200_000
    """Of all owners; one alone gets half of them."""
    ring_bytes: int = 256 << 20
    keys: int = 200_000
    """Of all owners; one alone gets half of them."""
    key_age: float = 120.0
    unstored: int = 64 << 20
    """Bytes of messages that wait for the store; one owner alone gets half of them."""
    slice_readers: int = 1500

    def ring_of(self, name: str) -> RingLimits:
        """Return the bounds of a topic's ring."""
        return self.watch_ring if is_watch(name) else self.ring


class TopicDirectory:
    """The topics that are in memory, and the memory that they share.

    ``clock`` is the hub's; ``wake`` has all readers of a topic visited.
    """

    def __init__(
        self,
        limits: HubLimits,
        store: TopicStore,
        contain: Containment,
        clock: Clock,
        wake: Callable[[Topic], None],
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.store = store
        self.topics: dict[str, Topic] = {}
        self.owners = Pool("topics", limits.topics, advice="some have to run out of readers and messages")
        """Who holds how many of them."""
        self.rings = Rings(limits.ring_bytes)
        self.log_bytes = 0
        self.settled = 0
        """What the topics that are gone have delivered."""
        self.lags = ReaderLosses()
        self.keys = KeyStore(limits.keys, limits.key_age)
        self.pending_appends = PendingAppends(limits.unstored)
        self.pages = Pages(contain, wake)
        """What readers of old messages have had read back from the store."""
        self.openers: dict[str, Callable[[str, Owner], Topic | Pending[Topic]]] = {}
        """Sources that make their topics when somebody reads them, by what stands before the colon of the name."""
        self._contain = contain
        self._opening: dict[str, Pending[Topic]] = {}
        self._sweeping: deque[Topic] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.topics)} topics, {self.rings!r}, {self.log_bytes} B in logs>"

    def find(self, name: str, owner: Owner) -> Topic | Pending[Topic]:
        """Return the topic, or raise NotFound; one that nobody needed counts for this owner from now on."""
        topic = self.topics.get(name)
        if topic is not None:
            return topic
        opener = self.openers.get(name.partition(":")[0])
        if opener is not None:
            return opener(name, owner)
        if not self.store.knows(name):
            raise NotFound(f"topic {name!r} does not exist or has expired")
        return self.ring(name, owner=owner)

    def ring(self, name: str, *, owner: Owner = SERVICE) -> Topic | Pending[Topic]:
        """Return the topic, made for its owner when it is missing; raise LimitReached when that has too many."""
        return self.topics.get(name) or self._open(name, self.limits.ring_of(name), owner)

    def own(self, name: str, *, owner: Owner = SERVICE) -> Topic:
        """Return the topic as :meth:`ring` does, but at once; raise StorageFailed where the store has to be asked.

        That is never so for a topic that the service alone writes.
        """
        return _at_once(self.ring(name, owner=owner))

    def reopen(self, name: str, owner: Owner) -> Topic:
        """Make a topic that was there a moment ago: there is room for it in any case."""
        return _at_once(self._begin_opening(name, self.limits.ring_of(name), owner))

    def readable(self, name: str, owner: Owner) -> Topic | Pending[Topic]:
        """Return the topic for a reader, made for this owner when it is missing and clients can publish to it."""
        return self.find(name, owner) if is_reserved(name) else self.ring(name, owner=owner)

    def log(self, name: str, owner: Owner = SERVICE, *, restored: bool = False) -> Topic:
        """Make a topic that keeps everything until it is given up or dropped.

        One that is ``restored`` was accepted before: there is room for it in any case.
        """
        assert name not in self.topics
        if not restored:
            self.owners.check(owner)
        return _at_once(self._begin_opening(name, None, owner))

    def adopt(self, name: str, kept: KeptTopic, owner: Owner) -> Topic:
        """Make a log of what its source keeps elsewhere; raise LimitReached. It goes by :meth:`release`."""
        self.owners.check(owner)
        self.owners.charge(owner, 1)
        return self._opened(name, None, owner, kept)

    def release(self, topic: Topic) -> None:
        """Forget a topic that was adopted; readers that are still in it are evicted."""
        self._forget(topic)

    def _open(self, name: str, ring: RingLimits | None, owner: Owner) -> Topic | Pending[Topic]:
        if (opening := self._opening.get(name)) is not None:
            return opening
        self.owners.check(owner)
        return self._begin_opening(name, ring, owner)

    def _begin_opening(self, name: str, ring: RingLimits | None, owner: Owner) -> Topic | Pending[Topic]:
        self.owners.charge(owner, 1)
        kept = self.store.history(name, owner)
        if not isinstance(kept, Pending):
            return self._opened(name, ring, owner, kept)
        kept.on_settled(partial(self._answered, name, owner))
        opening = self._opening[name] = kept.then(partial(self._opened, name, ring, owner))
        return opening

    def _answered(self, name: str, owner: Owner, kept: KeptTopic | Exception) -> None:
        del self._opening[name]
        if isinstance(kept, Exception):
            self.owners.release(owner, 1)

    def _opened(self, name: str, ring: RingLimits | None, owner: Owner, kept: KeptTopic) -> Topic:
        position = kept.position
        topic = Topic(name, position.epoch, ring, self.lags, head=position.offset - len(kept.messages))
        topic.owner = topic.payer = owner
        self.topics[name] = topic
        if kept.read is not None:
            topic.history = StoredHistory(topic, kept.read, self.pages)
            topic.ring.first, topic.ring.spilled = 1, position.offset
        if kept.messages:
            topic.ring.restore(kept.messages, kept.times)
            topic.ring.expire(self.clock())
            self._grown(topic, topic.size)
            self.rings.fit()
        for key, offset, at in kept.keys:
            self.keys.put(key.owner, (name, key.key), Position(position.epoch, offset), at)
        return topic

    def drop(self, topic: Topic) -> None:
        """Forget a topic and all that is kept of it; readers that are still in it are evicted."""
        if self._forget(topic):
            self.store.drop(topic)

    def _forget(self, topic: Topic) -> bool:
        if not self._remove(topic):
            return False
        self._evict_all(topic)
        return True

    def _remove(self, topic: Topic) -> bool:
        """Take a topic out of the directory; its readers stay in it."""
        if self.topics.get(topic.name) is not topic:
            return False
        del self.topics[topic.name]
        self.owners.release(topic.owner, 1)
        self.settled += topic.delivered
        if topic.limits is None:
            self.log_bytes -= topic.size
        else:
            self.rings.dropped(topic)
        if topic.history is not None:
            topic.history.end()
        return True

    def _evict_all(self, topic: Topic) -> None:
        for reader in tuple(topic.readers):
            self.lags.dropped += 1
            self._contain(reader.cut)

    def give_up(self, topic: Topic, through: int, size: int) -> int:
        """Drop the oldest messages of a log, as :meth:`Ring.give_up` does."""
        freed = topic.ring.give_up(through, size)
        self._freed(topic, freed)
        return freed

    def spill(self, topic: Topic, size: int) -> int:
        """Drop the oldest messages of a log from memory, as :meth:`Ring.spill` does."""
        freed = topic.ring.spill(size)
        self._freed(topic, freed)
        return freed

    def retire(self, topic: Topic) -> None:
        """Forget a topic that nobody needs, but not where it stands: who comes back soon goes on."""
        if self._forget(topic):
            self.store.retire(topic, self.clock())

    def sweep(self, now: float, most: int | None = None) -> None:
        """Do as :meth:`age`, and forget keys and positions whose time is over: some of them where they are many."""
        self.age(now, most)
        self.keys.expire(now)
        self.store.expire(now)

    def age(self, now: float, most: int | None = None) -> None:
        """Age rings out, and forget topics that nobody needs.

        Looks at ``most`` topics and goes on from there the next time: to forget 100,000 takes a second.
        """
        for topic in islice(self._round(), most):
            if topic.limits is not None and self.topics.get(topic.name) is topic:
                self._contain(self._age, topic, now)

    def _age(self, topic: Topic, now: float) -> None:
        self.rings.freed(topic, topic.ring.expire(now))
        if topic.first > topic.head and not topic.readers and topic.name not in self.pending_appends:
            self.retire(topic)

    def _round(self) -> Iterator[Topic]:
        """Go on with the round over all topics; where it ends, the next call begins anew."""
        if not self._sweeping:
            self._sweeping = deque(self.topics.values())
        while self._sweeping:
            yield self._sweeping.popleft()

    def _grown(self, topic: Topic, size: int) -> None:
        if topic.limits is None:
            self.log_bytes += size
        else:
            self.rings.grown(topic, size)

    def _freed(self, topic: Topic, size: int) -> None:
        if topic.limits is None:
            self.log_bytes -= size
        else:
            self.rings.freed(topic, size)


def _at_once(topic: Topic | Pending[Topic]) -> Topic:
    if isinstance(topic, Pending):
        raise StorageFailed("the topic is being read from the store")
    return topic
