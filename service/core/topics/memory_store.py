"""The store without a disk: rings are all that keeps messages, and every answer is there at once."""

from collections.abc import Callable, Sequence

from service.core.owner import Owner
from service.core.pieces import Pieces
from service.core.pool import Pool
from service.core.ports import KeptTopic, PublishKey, UrlOutcome
from service.core.topics.retired import RetiredTopics
from service.core.topics.topic import Position, Topic

__all__ = ["MemoryStore"]


class MemoryStore:
    """The topic store of a service that keeps nothing on disk.

    Of a topic that nobody needs the position outlives it, for ``retired_age`` seconds, of ``retired`` topics.
    """

    def __init__(self, new_epoch: Callable[[], str], *, retired: int = 50_000, retired_age: float = 60.0) -> None:
        self.retired = RetiredTopics(retired, retired_age)
        """300 bytes each."""
        self.pools: Sequence[Pool] = (self.retired.pool,)
        self._new_epoch = new_epoch

    def __repr__(self) -> str:
        return f"<MemoryStore {len(self.retired)} retired>"

    def durable(self, name: str) -> bool:
        """Return False: a restart forgets every topic."""
        return False

    def knows(self, name: str) -> bool:
        """Return whether the topic was retired a short time ago."""
        return name in self.retired

    def history(self, name: str, owner: Owner) -> KeptTopic:
        """Return a new epoch, or where the topic stood."""
        return KeptTopic(self.retired.pop(name) or Position(self._new_epoch(), 0))

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Position:
        """Return the next position."""
        ring = topic.ring
        return Position(ring.epoch, ring.head + 1)

    def append_all(self, topics: Sequence[Topic], data: bytes, now: float) -> list[Position]:
        """Return the next position of each."""
        return [Position(topic.ring.epoch, topic.ring.head + 1) for topic in topics]

    def retire(self, topic: Topic, now: float) -> None:
        """Remember where the topic stands."""
        self.retired.keep(topic.name, topic.position, topic.owner, now)

    def drop(self, topic: Topic) -> None:
        """Forget nothing: the ring goes with the topic."""

    def expire(self, now: float) -> None:
        """Forget positions whose time is over."""
        self.retired.expire(now)
