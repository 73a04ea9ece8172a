"""Stores that answer later, in order for each topic: appends, pages that are read back, and acceptances."""

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random

from service.core.batch_store import MemoryBatches
from service.core.errors import StorageFailed
from service.core.fetching.batch import Batch, Keep
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import KeptTopic, PublishKey, UrlOutcome
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.core.topics.topic import Topic

__all__ = ["LateBatches", "LateStore"]

_DELAYS = (0.0, 0.01, 0.5)
_PAGE = 5
"""Messages that are read back at once."""


class LateStore(MemoryStore):
    """Keeps the logs of batches, as a disk does."""

    def __init__(self, chance: Random) -> None:
        super().__init__(lambda: "e")
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._logs: dict[str, list[bytes | None]] = {}
        self._answered: dict[str, float] = {}
        """When the last append to each log is answered."""

    def history(self, name: str, owner: Owner) -> KeptTopic:
        kept = super().history(name, owner)
        if not name.startswith("batch:"):
            return kept
        self._logs[name] = []
        return KeptTopic(kept.position, read=partial(self._read, name))

    def append(  # type: ignore[override] # an answer of the port
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Position | Pending[Position]:
        if topic.name not in self._logs:
            return super().append(topic, data, now, note)
        pending: Pending[Position] = Pending()
        # Two timers of one moment may come in any order.
        at = max(self._answered.get(topic.name, 0.0) + 1e-6, self._loop.time() + self._chance.choice(_DELAYS))
        self._answered[topic.name] = at
        self._loop.call_at(at, self._store, self._logs[topic.name], bytes(data), pending)
        return pending

    def _store(self, log: list[bytes | None], data: bytes, pending: Pending[Position]) -> None:
        log.append(data)
        pending.settle(Position("e", len(log)))

    def _read(self, name: str, after: int) -> Pending[Sequence[bytes | None]]:
        pending: Pending[Sequence[bytes | None]] = Pending()
        self._loop.call_later(self._chance.choice(_DELAYS), self._answer, name, after, pending)
        return pending

    def _answer(self, name: str, after: int, pending: Pending[Sequence[bytes | None]]) -> None:
        log = self._logs.get(name)
        broken = log is None or self._chance.random() < 0.02
        pending.settle(StorageFailed("it cannot be read") if log is None or broken else log[after : after + _PAGE])

    def drop(self, topic: Topic) -> None:
        self._logs.pop(topic.name, None)
        self._answered.pop(topic.name, None)


class LateBatches(MemoryBatches):
    """Accepts batches later, or refuses them."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    def begin(self, batch: Batch) -> Pending[Batch]:  # type: ignore[override] # an answer of the port
        return self._later(batch)

    def change(  # type: ignore[override] # an answer of the port
        self, batch: Batch, keep: Keep, *, cancelled: bool
    ) -> Pending[Batch]:
        return self._later(batch)

    def _later(self, batch: Batch) -> Pending[Batch]:
        pending: Pending[Batch] = Pending()
        refused = self._chance.random() < 0.05
        outcome = StorageFailed("the disk is full") if refused else batch
        self._loop.call_later(self._chance.choice(_DELAYS), pending.settle, outcome)
        return pending
