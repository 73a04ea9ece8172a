"""The store of jobs on disk: what every one does, kills, and damage."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.core.errors import NotFound, StorageFailed
from service.core.jobs.store import JobStore
from service.storage.errors import CommitFailed
from service.storage.storage import Storage
from service.storage.tables import Table
from tests.core.jobs.jobs import new_job
from tests.core.jobs.test_job_store import JobStoreContract
from tests.storage.stored import damage
from tests.storage.test_topic_store import Disk, answer


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    """A directory that does not exist yet."""
    disk = Disk(tmp_path / "data")
    yield disk
    await disk.close()


class TestDiskJobs(JobStoreContract):
    """The store with one."""

    @pytest.fixture(autouse=True)
    async def storage(self, disk: Disk) -> None:
        self._storage = await disk.open()

    def make(self) -> JobStore:
        return self._storage.jobs

    async def settle(self, store: JobStore) -> None:
        writer = self._storage.writer
        async with asyncio.timeout(30):
            # What is read comes after what is written.
            while writer.waiting or writer._commit is not None:
                await asyncio.sleep(0.001)
            await answer(writer.read(lambda: True))


async def put(storage: Storage, row: int, count: int = 1) -> None:
    storage.jobs.last_row = max(storage.jobs.last_row, row)
    await answer(storage.jobs.put(new_job(row, head=count), [b"%d" % (number + 1) for number in range(count)]))


async def test_all_is_there_after_a_kill_and_rows_go_on(disk: Disk) -> None:
    storage = await disk.open()
    for row in (1, 2, 3):
        await put(storage, row, count=600)
    storage.jobs.drop(2, 600)
    await put(storage, 4)
    again = await disk.kill()
    assert [job.row for job in again.jobs.kept()] == [1, 3, 4]
    assert again.jobs.new_row() == 5
    events = await answer(again.jobs.read(3, 0))
    more = await answer(again.jobs.read(3, len(events)))  # type: ignore[arg-type]
    assert [*events, *more][:3] == [b"1", b"2", b"3"]  # type: ignore[misc]
    with pytest.raises(NotFound):
        await answer(again.jobs.read(2, 0))


async def test_a_job_that_is_not_in_memory_is_read(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.job_store._RECENT", 1)
    storage = await disk.open()
    await put(storage, 1)
    job = await answer(storage.jobs.get(1))
    assert job == new_job(1, head=1)
    assert storage.jobs._size == 0


async def test_one_flipped_bit_costs_nothing_of_a_job_and_one_event_of_its_events(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1, count=3)
    await put(storage, 2)
    await storage.close()
    disk.storages.clear()
    damage(disk.path / "sluice.db", Table.JOBS, 1)
    damage(disk.path / "sluice.db", Table.JOB_EVENTS, (1 << 20) + 2)
    again = await disk.open()
    assert [job.row for job in again.jobs.kept()] == [1, 2]
    assert await answer(again.jobs.read(1, 0)) == [b"1", None, b"3"]
    assert again.jobs.damaged == 2


async def test_a_job_that_is_damaged_for_good_is_left_out(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1)
    await put(storage, 2)
    await storage.close()
    disk.storages.clear()
    for at in (6, 9):
        damage(disk.path / "sluice.db", Table.JOBS, 1, at)
    again = await disk.open()
    assert [job.row for job in again.jobs.kept()] == [2]
    with pytest.raises(NotFound):
        await answer(again.jobs.get(1))


async def test_what_could_not_be_committed_is_refused_and_not_there(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await disk.open()
    await put(storage, 1)

    def fail(changes: object) -> None:
        raise CommitFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(storage._database, "write", fail)
        with pytest.raises(StorageFailed):
            await answer(storage.jobs.put(new_job(1, head=2), [b"2"]))
    job = await answer(storage.jobs.get(1))
    assert job == new_job(1, head=1)
    assert await answer(storage.jobs.read(1, 0)) == [b"1"]
