"""What the database has of each topic: where it stands, and in which rows its messages are."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from service.core.ports import KeptKey
from service.core.topics.position import Position
from service.core.topics.topic import Topic
from service.storage.database import RowChanges
from service.storage.records import Seconds, StoredCount, write_document
from service.storage.tables import Table

__all__ = ["KeptTopicRows", "KeptTopics", "TopicRow"]


class TopicRow(msgspec.Struct, frozen=True):
    """A topic's own row, as it is stored."""

    name: str
    owner: str
    epoch: str
    head: StoredCount
    """After which offset the rows of messages begin."""
    used: Seconds


@dataclass(slots=True, eq=False)
class KeptTopicRows:
    """One topic. ``head`` is the newest offset that has been given to a message, also of a commit under way."""

    id: int
    name: str
    owner: str
    epoch: str
    head: int = 0
    used: float = 0.0
    """When it was retired last, in seconds since 1970."""
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    """The rows of the newest messages, in order of their offsets; the last one is that of ``head``."""
    retired: bool = False
    """Whether the hub has forgotten it, with all its messages."""
    topic: Topic | None = None
    """The topic of the hub, as long as that has it."""
    stored: bool = False
    """Whether the database has the topic's own row as it is now."""
    dropped: bool = False
    messages: list[bytes | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[KeptKey] = field(default_factory=list)
    """What was read at the start and the hub has not asked for yet."""

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.epoch, self.head)

    @property
    def oldest(self) -> int:
        """The oldest offset whose message is in a row."""
        return self.head + 1 - len(self.rows)

    @property
    def overhang(self) -> int:
        """How many of its oldest rows hold messages that the ring has given up."""
        if self.retired:
            return len(self.rows)
        return 0 if self.topic is None else max(0, min(self.topic.first - self.oldest, len(self.rows)))

    def write(self, changes: RowChanges) -> None:
        """Put its own row, which says after which offset the rows of messages begin."""
        base = self.oldest - 1
        document = {"name": self.name, "owner": self.owner, "epoch": self.epoch, "head": base, "used": self.used}
        changes.replace(Table.TOPICS, self.id, write_document(self.id, document))


class KeptTopics:
    """All topics of the database, by name and by id."""

    def __init__(self) -> None:
        self._by_name: dict[str, KeptTopicRows] = {}
        self.by_id: dict[int, KeptTopicRows] = {}
        """By the id that their messages name."""
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[KeptTopicRows]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> KeptTopicRows | None:
        """Return what is kept of a topic, or None."""
        return self._by_name.get(name)

    def make(self, name: str, owner: str, epoch: str) -> KeptTopicRows:
        """Return a new topic."""
        kept = KeptTopicRows(self._next_id, name, owner, epoch)
        self.add(kept)
        return kept

    def add(self, kept: KeptTopicRows) -> None:
        """Take in a topic that was read."""
        self._by_name[kept.name] = self.by_id[kept.id] = kept
        self._next_id = max(self._next_id, kept.id + 1)

    def remove(self, kept: KeptTopicRows) -> None:
        """Forget a topic."""
        del self._by_name[kept.name], self.by_id[kept.id]
