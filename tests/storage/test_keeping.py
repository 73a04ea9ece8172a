"""The contract of what the composition asks of storage: without a data directory, and with one."""

import asyncio
from itertools import count
from pathlib import Path

import pytest

from service.core.batch_store import KeptBatch
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.storage.errors import StorageUnusable
from service.storage.opening import Keeping, open_storage
from service.storage.options import DataOptions
from tests.storage.test_topic_store import answer


class KeepingContract:
    """Subclasses say where it is: in ``path``, or nowhere."""

    @pytest.fixture(autouse=True)
    def where(self, tmp_path: Path) -> None:
        self.path: Path | None = self.place(tmp_path)
        self.epochs = count(1)

    def place(self, folder: Path) -> Path | None:
        raise NotImplementedError

    async def open(self) -> Keeping:
        options = DataOptions(self.path, "full", (), 120.0)
        return await open_storage(
            options, clock=asyncio.get_running_loop().time, new_epoch=lambda: f"e{next(self.epochs)}"
        )

    def hub(self, keeping: Keeping) -> Hub:
        loop = asyncio.get_running_loop()
        store = keeping.store(MemoryStore(lambda: "memory"))
        return Hub(HubLimits(), store, call_soon=loop.call_soon, clock=loop.time)

    async def publish(self, hub: Hub, data: bytes) -> Position:
        position = await answer(hub.publish("t", data, hub.clock(), owner=Owner("a")))
        assert isinstance(position, Position)
        return position

    async def test_a_new_one_is_empty_and_well(self) -> None:
        keeping = await self.open()
        hub, batches = self.hub(keeping), list[KeptBatch]()
        await keeping.open_topics(hub)
        await keeping.open_batches(batches.append)
        assert (batches, keeping.failing, keeping.jobs.last_row) == ([], "", 0)
        await keeping.close()

    async def test_its_parts_are_the_same_objects_whenever_they_are_asked_for(self) -> None:
        keeping = await self.open()
        for part in ("jobs", "batches", "watches"):
            assert getattr(keeping, part) is getattr(keeping, part), part
        await keeping.close()

    async def test_what_outlives_the_process_is_said_and_true(self) -> None:
        keeping = await self.open()
        hub = self.hub(keeping)
        outlives = hub.store.durable("t")
        assert keeping.batches.outlives is outlives
        assert (keeping.watches is not None) is outlives
        position = await self.publish(hub, b"1")
        await keeping.close()
        again = await self.open()
        hub = self.hub(again)
        await again.open_topics(hub)
        following = await self.publish(hub, b"2")
        assert (following == Position(position.epoch, position.offset + 1)) is outlives
        await again.close()

    async def test_closing_stores_what_waits(self) -> None:
        keeping = await self.open()
        pending = self.hub(keeping).publish("t", b"1", 0.0, owner=Owner("a"))
        await keeping.close()
        assert not isinstance(pending, Pending) or pending.known
        assert isinstance(await answer(pending), Position)

    async def test_figures_are_there_where_there_is_a_disk(self) -> None:
        keeping = await self.open()
        await self.publish(self.hub(keeping), b"1")
        figures = keeping.statistics()
        assert (figures is not None) is (self.path is not None)
        assert figures is None or figures.commits >= 1
        await keeping.close()


class TestNowhere(KeepingContract):
    """A service without a data directory."""

    def place(self, folder: Path) -> None:
        return None


class TestInDirectory(KeepingContract):
    """One with a directory, which does not exist yet."""

    def place(self, folder: Path) -> Path:
        return folder / "data"

    async def test_a_directory_is_open_once_at_a_time(self) -> None:
        keeping = await self.open()
        with pytest.raises(StorageUnusable, match="--data"):
            await self.open()
        await keeping.close()
        await (await self.open()).close()
