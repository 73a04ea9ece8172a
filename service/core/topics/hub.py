"""The hub: every topic by name, who visits whom and when, and the memory that all rings share.

An append marks its topic; ``core/topics/visits.py`` then brings each of its readers what it has not had. What gives
way when the rings outgrow their bound is decided in ``core/topics/rings.py``.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from service.core.containment import Containment
from service.core.errors import NotFound
from service.core.owner import SERVICE, Owner
from service.core.pool import Pool
from service.core.topics.idempotency import KeyStore
from service.core.topics.latency import Latency
from service.core.topics.names import is_reserved
from service.core.topics.reader import Reader
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.retired import RetiredTopics
from service.core.topics.rings import Rings
from service.core.topics.topic import Position, RingLimits, Since, Start, Topic
from service.core.topics.visits import Visits, evict

__all__ = ["Hub", "HubLimits", "HubStatistics"]


@dataclass(frozen=True, slots=True)
class HubLimits:
    """Bounds over all topics. ``slice_readers`` visits take 15 ms at 10 us a write."""

    ring: RingLimits = field(default_factory=RingLimits)
    topics: int = 200_000
    """Of all owners; one alone gets half of them."""
    ring_bytes: int = 256 << 20
    keys: int = 200_000
    """Of all owners; one alone gets half of them."""
    key_age: float = 120.0
    retired: int = 50_000
    """Topics that nobody needs whose epoch and offset are kept, for ``retired_age`` seconds: 300 bytes each."""
    retired_age: float = 60.0
    slice_readers: int = 1500


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


class Hub:
    """All topics; pure: the shell passes the time, and ``call_soon`` to be called back next loop turn.

    ``clock`` tells the time by which visits are measured; publishers take ``now`` from it too.
    """

    def __init__(
        self,
        limits: HubLimits,
        *,
        new_epoch: Callable[[], str],
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.latency = Latency()
        self.lags = ReaderLosses()
        self.topics: dict[str, Topic] = {}
        self.owners = Pool("topics", limits.topics, advice="some have to run out of readers and messages")
        """Who holds how many of them."""
        self.rings = Rings(limits.ring_bytes)
        self.log_bytes = 0
        self.published = 0
        self.settled = 0
        """Messages appended since the start, and what the topics that are gone have delivered."""
        self._new_epoch = new_epoch
        self._contain = contain = Containment(call_soon)
        self._visits = Visits(limits.slice_readers, self.latency, contain, call_soon=call_soon, clock=clock)
        self.keys = KeyStore(limits.keys, limits.key_age)
        self.retired = RetiredTopics(limits.retired, limits.retired_age)
        self._sweeping: deque[Topic] = deque()

    def __repr__(self) -> str:
        return f"<Hub {len(self.topics)} topics, {self.rings.pool.used} B in rings, {self.log_bytes} B in logs>"

    def find(self, name: str, owner: Owner) -> Topic:
        """Return the topic, or raise NotFound; one that nobody needed counts for this owner from now on."""
        topic = self.topics.get(name)
        if topic is None and name in self.retired:
            topic = self.ring(name, owner=owner)
        if topic is None:
            raise NotFound(f"topic {name!r} does not exist or has expired")
        return topic

    def ring(self, name: str, limits: RingLimits | None = None, *, owner: Owner = SERVICE) -> Topic:
        """Return the topic, made for its owner when it is missing; raise LimitReached when that has too many."""
        return self.topics.get(name) or self._open(name, limits or self.limits.ring, owner)

    def readable(self, name: str, owner: Owner) -> Topic:
        """Return the topic for a reader, made for this owner when it is missing and clients can publish to it."""
        return self.find(name, owner) if is_reserved(name) else self.ring(name, owner=owner)

    def log(self, name: str, owner: Owner = SERVICE) -> Topic:
        """Make a topic that keeps everything until it is given up or dropped."""
        assert name not in self.topics
        return self._open(name, None, owner)

    def check_room(self, names: Collection[str], size: int, owner: Owner) -> None:
        """Make room for a message of so many bytes in each of these topics; raise LimitReached or Overloaded."""
        if missing := len({name for name in names if name not in self.topics}):
            self.owners.check(owner, missing)
        self.rings.make_room(None, owner, size * len(names))

    def _open(self, name: str, ring: RingLimits | None, owner: Owner) -> Topic:
        self.owners.check(owner)
        before = self.retired.take(name) or Position(self._new_epoch(), 0)
        topic = self.topics[name] = Topic(name, before.epoch, ring, self.lags, head=before.offset)
        topic.owner = topic.payer = owner
        self.owners.take(owner, 1)
        return topic

    def publish(
        self, name: str, data: bytes, now: float, *, key: str | None = None, owner: Owner = SERVICE
    ) -> Position:
        """Append for a client: make the topic when it is missing; the same key of one owner publishes once.

        Raises LimitReached (topics, keys) and Overloaded (memory of all rings).
        """
        if key is not None and (before := self.keys.get(owner, (name, key), now)) is not None:
            return before
        topic = self.topics.get(name)
        self.rings.make_room(topic, owner, len(data))
        topic = topic or self.ring(name, owner=owner)
        if not topic.size:
            topic.payer = owner
        if key is not None:
            # Reserved before the append: a full store refuses the publish, not only its repetition.
            self.keys.put(owner, (name, key), Position(topic.epoch, topic.head + 1), now)
        self.append(topic, data, now)
        return topic.position

    def append(self, topic: Topic, data: bytes, now: float) -> int:
        """Append for a source, and let every reader be visited in the next loop turn; return the offset."""
        before = topic.size
        offset = topic.append(data, now)
        self.published += 1
        if topic.limits is None:
            self.log_bytes += topic.size - before
        else:
            self.rings.grown(topic, topic.size - before)
            if topic.visited and topic.head - topic.visited_at > topic.limits.messages // 4:
                self._visits.pressed.add(topic)
        if not topic.due:
            self._visits.wake(topic)
        return offset

    @property
    def pressed(self) -> bool:
        """Whether a ring fills faster than its visits go round; publishers then let the loop turn.

        Otherwise a burst could move the ring past readers that are ready, but whose turn has not come.
        """
        return bool(self._visits.pressed)

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

    def drop(self, topic: Topic) -> None:
        """Forget a topic; readers that are still in it are evicted."""
        if self.topics.pop(topic.name, None) is None:
            return
        self.owners.give_back(topic.owner, 1)
        self.settled += topic.delivered
        if topic.limits is None:
            self.log_bytes -= topic.size
        else:
            self.rings.dropped(topic)
            self._visits.pressed.discard(topic)
        for reader in tuple(topic.readers):
            self.lags.dropped += 1
            self._contain(evict, reader)

    def give_up(self, topic: Topic, through: int, size: int) -> int:
        """Drop the oldest messages of a log, as :meth:`Topic.give_up` does."""
        freed = topic.give_up(through, size)
        self.log_bytes -= freed
        return freed

    def retire(self, topic: Topic) -> None:
        """Forget a topic that nobody needs, but not where it stands: who comes back soon goes on."""
        self.retired.keep(topic, self.clock())
        self.drop(topic)

    def wake(self, topic: Topic) -> None:
        """Have all readers of the topic visited, from the next loop turn on."""
        self._visits.wake(topic)

    def sweep(self, now: float, most: int | None = None) -> None:
        """Age rings out, forget topics that nobody needs, and expired keys.

        Looks at ``most`` topics and goes on from there the next time: 100,000 at once would take 40 ms.
        """
        for topic in islice(self._round(), most):
            if topic.limits is not None and self.topics.get(topic.name) is topic:
                self._contain(self._age, topic, now)
        self.keys.expire(now)
        self.retired.expire(now)

    def _age(self, topic: Topic, now: float) -> None:
        self.rings.freed(topic, topic.expire(now))
        if topic.first > topic.head and not topic.readers:
            self.retire(topic)

    def _round(self) -> Iterator[Topic]:
        """Go on with the round over all topics; where it ends, the next call begins anew."""
        if not self._sweeping:
            self._sweeping = deque(self.topics.values())
        while self._sweeping:
            yield self._sweeping.popleft()

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
