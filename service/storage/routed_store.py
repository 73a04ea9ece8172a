"""A topic store that keeps some topics on disk and the others in memory, by their names; batches have their own."""

from collections.abc import Callable, Sequence

from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import KeptTopic, PublishKey, TopicStore, UrlOutcome
from service.core.topics.position import Position
from service.core.topics.topic import Topic
from service.storage.log_store import LogStore

__all__ = ["RoutedStore"]


class RoutedStore:
    """``is_durable`` decides by the name. One message for topics of both is stored first, and then in memory."""

    def __init__(
        self, durable: TopicStore, memory: TopicStore, logs: LogStore, is_durable: Callable[[str], bool]
    ) -> None:
        self._durable = durable
        self._logs = logs
        self._memory = memory
        self._is_durable = is_durable
        self.pools = durable.pools

    def __repr__(self) -> str:
        return f"<RoutedStore {self._durable!r}, {self._memory!r}>"

    def _of(self, name: str) -> TopicStore:
        return self._durable if self._is_durable(name) else self._memory

    def durable(self, name: str) -> bool:
        """Return whether the topic is kept on disk."""
        return _is_log(name) or self._of(name).durable(name)

    def knows(self, name: str) -> bool:
        """Ask the topic's store."""
        return self._of(name).knows(name)

    def history(self, name: str, owner: Owner) -> KeptTopic | Pending[KeptTopic]:
        """Ask the topic's store."""
        return self._logs.history(name, owner) if _is_log(name) else self._of(name).history(name, owner)

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Position | Pending[Position]:
        """Append to the topic's store."""
        if topic.limits is None:
            return self._logs.append(topic, data, now, note)
        store = self._durable if self._is_durable(topic.name) else self._memory
        return store.append(topic, data, now, note)

    def append_all(
        self, topics: Sequence[Topic], data: bytes, now: float
    ) -> Sequence[Position] | Pending[Sequence[Position]]:
        """Append on disk first; where that is refused, nothing is appended in memory either."""
        durable = [topic for topic in topics if self._is_durable(topic.name)]
        if not durable:
            return self._memory.append_all(topics, data, now)
        stored = self._durable.append_all(durable, data, now)
        if len(durable) == len(topics):
            return stored
        assert isinstance(stored, Pending)

        def add_memory(positions: Sequence[Position]) -> Sequence[Position]:
            on_disk = iter(positions)
            # As they are now: others may have published to these topics while the commit was under way.
            return [
                next(on_disk) if self._is_durable(one.name) else Position(one.epoch, one.head + 1) for one in topics
            ]

        return stored.then(add_memory)

    def retire(self, topic: Topic, now: float) -> None:
        """Have the topic's store keep the position."""
        self._of(topic.name).retire(topic, now)

    def drop(self, topic: Topic) -> None:
        """Have the topic's store forget it."""
        if topic.limits is None:
            self._logs.drop(topic)
        else:
            self._of(topic.name).drop(topic)

    def expire(self, now: float) -> None:
        """Have all forget what is too old."""
        self._logs.expire()
        self._durable.expire(now)
        self._memory.expire(now)


def _is_log(name: str) -> bool:
    return name.startswith("batch:")
