"""The store of batches on disk keeps the contract of every store of batches."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.core.batch_store import BatchStore, KeptBatch
from service.core.fetching.batch import Batch
from service.core.owner import Owner
from service.core.ports import KeptTopic
from service.core.topics.topic import Topic
from service.storage.log_store import LogStore
from tests.core.test_batch_store import BatchStoreContract
from tests.storage.test_topic_store import Disk, answer, refuse


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    """A directory that does not exist yet."""
    disk = Disk(tmp_path / "data")
    yield disk
    await disk.close()


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
        writer = self._storage.writer
        async with asyncio.timeout(30):
            # What is read comes after what is written.
            while writer.waiting or writer._commit is not None:
                await asyncio.sleep(0.001)
            await answer(writer.read(lambda: True))

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
