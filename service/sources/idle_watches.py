"""Topics of URLs that were watched: they wait, with their last state, for somebody who watches again.

This is so where topics outlive the process. A client that comes back, after a restart too, gets what has changed
since its position and nothing else. Nothing is polled for them. The longest idle are forgotten first.
"""

from collections import OrderedDict
from typing import Final

from service.core.ports import WatchStore
from service.core.topics.hub import Hub
from service.core.topics.names import is_watch
from service.core.topics.topic import Topic
from service.runtime.timer import Periodic

__all__ = ["IdleWatches"]

_EVERY: Final = 60.0


class IdleWatches:
    """At most ``most`` topics for ``age`` seconds each, all together in half of the memory for rings.

    Without a store none is kept.
    """

    def __init__(self, hub: Hub, store: WatchStore | None, *, most: int, age: float) -> None:
        self._hub = hub
        self._store = store
        self._most = most
        self._age = age
        self._size = hub.rings.pool.bound // 2
        self._used = 0
        self._idle: OrderedDict[Topic, tuple[float, int]] = OrderedDict()
        """Since when each is idle, the longest first, and the bytes that it had then."""
        self._timer = Periodic("idle watches", _EVERY, self._expire)
        for topic in [topic for topic in hub.topics.values() if is_watch(topic.name)]:
            self.put(topic)

    def __repr__(self) -> str:
        return f"<IdleWatches {len(self._idle)} topics, {self._used} B>"

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, topic: Topic) -> None:
        """Take in a topic that nobody watches any more; one that has nothing, or is not kept, is forgotten."""
        if self._store is None or topic.first > topic.head or not self._hub.store.durable(topic.name):
            self._hub.retire(topic)
            return
        self._idle[topic] = self._hub.clock(), topic.size
        self._used += topic.size
        while len(self._idle) > self._most or self._used > self._size:
            self._forget_oldest(self._store)
        if self._idle:
            self._timer.start()

    def release(self, topic: Topic) -> None:
        """Give a topic back to those who watch it."""
        self._used -= self._idle.pop(topic, (0.0, 0))[1]

    def close(self) -> None:
        """Leave everything as it is stored."""
        self._timer.stop()

    def _expire(self) -> float | None:
        before = self._hub.clock() - self._age
        while self._store is not None and self._idle and next(iter(self._idle.values()))[0] <= before:
            self._forget_oldest(self._store)
        return _EVERY if self._idle else None

    def _forget_oldest(self, store: WatchStore) -> None:
        topic, (_, size) = self._idle.popitem(last=False)
        self._used -= size
        store.delete(topic.name)
        self._hub.retire(topic)
