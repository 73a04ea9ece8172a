"""The store of batches on disk keeps the contract of every store of batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from service.core.batch_store import BatchStore, KeptBatch
from service.core.fetching.batch import Batch
from service.core.owner import Owner
from service.core.ports import KeptTopic
from service.core.topics.topic import Topic
from service.storage.log_store import LogStore
from tests.core.test_batch_store import BatchStoreContract
from tests.storage.test_topic_store import Disk, refuse, settled


class TestDiskBatches(BatchStoreContract):
    """The store with a data directory."""

    @pytest.fixture(autouse=True)
    async def storage(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        self._disk, self._storage, self._patch = disk, await disk.open(), monkeypatch

    def make(self) -> BatchStore:
        return self._storage.batches

    def topic(self, store: BatchStore, name: str) -> Topic:
        assert isinstance(store, LogStore)
        kept: KeptTopic = store.history(name, Owner("a"))
        return Topic(name, kept.position.epoch, None)

    async def settle(self) -> None:
        await settled(self._storage)

    def drop(self, store: BatchStore, batch: Batch) -> None:
        assert isinstance(store, LogStore)
        store.drop(batch.topic)
        store.expire()

    async def kept(self) -> Sequence[KeptBatch]:
        storage = await self._disk.kill()
        found: list[KeptBatch] = []
        await storage.open_batches(found.append)
        return found

    @contextmanager
    def failing(self) -> Iterator[None]:
        with self._patch.context() as patch:
            patch.setattr(self._storage.writer._database, "write", refuse)
            yield
