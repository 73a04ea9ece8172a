"""A store of topics whose answers come when the test says so: late, failing, or out of order between topics."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.core.errors import StorageFailed
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.pool import Pool
from service.core.ports import KeptKey, KeptTopic, PublishKey, UrlOutcome
from service.core.topics.position import Position
from service.core.topics.topic import Topic


@dataclass
class Kept:
    epoch: str
    head: int = 0
    messages: list[bytes | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[KeptKey] = field(default_factory=list)


@dataclass
class _Append:
    names: list[str]
    data: bytes
    now: float
    key: PublishKey | None
    pending: Pending[Position] | Pending[Sequence[Position]]


class FakeStore:
    """Keeps everything, also over a restart of the hub; a log's append can be answered only with success."""

    def __init__(self, *, late_history: bool = False) -> None:
        self.late_history = late_history
        self.topics: dict[str, Kept] = {}
        self.stored: dict[tuple[str, Position], bytes] = {}
        """All that was ever stored, by topic and position."""
        self.appends: deque[_Append] = deque()
        self.histories: deque[tuple[str, Pending[KeptTopic]]] = deque()
        self.epochs = 0
        self.pools: Sequence[Pool] = ()

    def new_epoch(self) -> str:
        self.epochs += 1
        return f"e{self.epochs}"

    def durable(self, name: str) -> bool:
        return True

    def knows(self, name: str) -> bool:
        return name in self.topics

    def history(self, name: str, owner: Owner) -> KeptTopic | Pending[KeptTopic]:
        if not self.late_history or name.startswith(("batch:", "watch:", "_")):
            return self._kept(name)
        pending: Pending[KeptTopic] = Pending()
        self.histories.append((name, pending))
        return pending

    def _kept(self, name: str) -> KeptTopic:
        kept = self.topics.setdefault(name, Kept(""))
        kept.epoch = kept.epoch or self.new_epoch()
        return KeptTopic(Position(kept.epoch, kept.head), tuple(kept.messages), tuple(kept.times), tuple(kept.keys))

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, key: PublishKey | UrlOutcome | None
    ) -> Pending[Position]:
        pending: Pending[Position] = Pending()
        kept = key if isinstance(key, PublishKey) else None
        self.appends.append(_Append([topic.name], bytes(data), now, kept, pending))
        return pending

    def append_all(self, topics: Sequence[Topic], data: bytes, now: float) -> Pending[Sequence[Position]]:
        pending: Pending[Sequence[Position]] = Pending()
        self.appends.append(_Append([topic.name for topic in topics], data, now, None, pending))
        return pending

    def retire(self, topic: Topic, now: float) -> None:
        pass

    def drop(self, topic: Topic) -> None:
        self.topics.pop(topic.name, None)

    def expire(self, now: float) -> None:
        pass

    def lose(self, name: str) -> None:
        """Have a topic begin anew, as after the failover of a remote store."""
        self.topics[name] = Kept(self.new_epoch())

    def open(self) -> None:
        """Answer the oldest question about history."""
        name, pending = self.histories.popleft()
        pending.settle(self._kept(name))

    def refuse_open(self) -> None:
        self.histories.popleft()[1].settle(StorageFailed("the disk cannot be read"))

    def answer(self, name: str | None = None) -> None:
        """Store and answer the oldest append, or the oldest of one topic."""
        one = self._next(name)
        positions = []
        for each in one.names:
            kept = self.topics.setdefault(each, Kept("e0"))
            kept.head += 1
            kept.messages.append(one.data)
            kept.times.append(one.now)
            if one.key is not None:
                kept.keys.append(KeptKey(one.key, kept.head, one.now))
            positions.append(Position(kept.epoch, kept.head))
            self.stored[each, positions[-1]] = one.data
        one.pending.settle(positions[0] if len(one.names) == 1 else positions)  # type: ignore[arg-type]

    def fail(self, name: str | None = None) -> None:
        """Refuse the oldest append, or the oldest of one topic."""
        self._next(name).pending.settle(StorageFailed("the disk is full"))

    def settle(self) -> None:
        """Answer all that waits."""
        while self.histories:
            self.open()
        while self.appends:
            self.answer()

    def _next(self, name: str | None) -> _Append:
        one = next(one for one in self.appends if name is None or name in one.names)
        self.appends.remove(one)
        return one
