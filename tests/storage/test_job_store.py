"""The store of jobs on disk: what every one does, kills, and damage."""

import asyncio
from array import array
from collections.abc import Sequence

import apsw
import msgspec
import pytest

from service.core.errors import NotFound, StorageFailed
from service.core.jobs.job import Job
from service.core.jobs.store import JobStore
from service.core.pending import Pending
from service.storage.commit_count import pack_count
from service.storage.database import RowChanges
from service.storage.errors import CommitFailed
from service.storage.job_store import _PutJob
from service.storage.storage import Storage
from service.storage.tables import Table
from tests.core.jobs.jobs import new_job
from tests.core.jobs.test_job_store import JobStoreContract
from tests.storage.stored import damage
from tests.storage.test_topic_store import Disk, answer, settled


class TestDiskJobs(JobStoreContract):
    """The store with one."""

    @pytest.fixture(autouse=True)
    async def storage(self, disk: Disk) -> None:
        self._storage = await disk.open()

    def make(self) -> JobStore:
        return self._storage.jobs

    async def settle(self, store: JobStore) -> None:
        await settled(self._storage)


async def put(storage: Storage, row: int, count: int = 1) -> None:
    storage.jobs.last_row = max(storage.jobs.last_row, row)
    await answer(storage.jobs.put(new_job(row, head=count), [b"%d" % (number + 1) for number in range(count)]))


def rows_of(storage: Storage) -> list[int]:
    """Return the rows of the jobs that were found at the start."""
    return [row for row in range(10) if row in storage.jobs.kept().agenda]


async def test_all_is_there_after_a_kill_and_rows_go_on(disk: Disk) -> None:
    storage = await disk.open()
    for row in (1, 2, 3):
        await put(storage, row, count=600)
    storage.jobs.drop(2, 600)
    await put(storage, 4)
    again = await disk.kill()
    assert rows_of(again) == [1, 3, 4]
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


async def damaged(disk: Disk, storage: Storage, *places: tuple[Table, int, int]) -> Storage:
    """Close the storage, flip bits of records, and open it again."""
    await storage.close()
    disk.storages.clear()
    for table, row, at in places:
        damage(disk.path / "sluice.db", table, row, at)
    return await disk.open()


async def test_one_flipped_bit_costs_nothing_of_a_job_and_one_event_of_its_events(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1, count=3)
    await put(storage, 2)
    state, request, event = (Table.JOBS, 1, -1), (Table.JOB_REQUESTS, 1, -1), (Table.JOB_EVENTS, (1 << 20) + 2, -1)
    again = await damaged(disk, storage, state, request, event)
    assert rows_of(again) == [1, 2]
    assert again.recovered.damaged == 1
    assert await answer(again.jobs.get(1)) == new_job(1, head=3)
    assert await answer(again.jobs.read(1, 0)) == [b"1", None, b"3"]
    assert again.jobs.damaged == 2
    # It is mended on disk.
    again = await damaged(disk, again)
    assert await answer(again.jobs.get(1)) == new_job(1, head=3)
    assert (again.recovered.damaged, again.jobs.damaged) == (0, 0)


async def test_a_job_that_is_damaged_for_good_is_gone_with_all_that_it_has(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1, count=2)
    await put(storage, 2)
    again = await damaged(disk, storage, (Table.JOBS, 1, 6), (Table.JOBS, 1, 9))
    assert (rows_of(again), again.recovered.damaged) == ([2], 1)
    with pytest.raises(NotFound):
        await answer(again.jobs.get(1))
    rows = again._database.rows
    assert [len(list(rows.all(table))) for table in (Table.JOBS, Table.JOB_REQUESTS, Table.JOB_EVENTS)] == [1, 1, 1]


@pytest.mark.parametrize("places", [(), (6, 9)])
async def test_a_job_whose_request_is_damaged_or_gone_is_there_without_its_work(
    disk: Disk, places: tuple[int, ...]
) -> None:
    storage = await disk.open()
    await put(storage, 1)
    if not places:
        changes = RowChanges(storage._database.next_row)
        changes.delete(Table.JOB_REQUESTS, array("q", [1]))
        storage._database.write(changes)
    again = await damaged(disk, storage, *((Table.JOB_REQUESTS, 1, at) for at in places))
    assert await answer(again.jobs.get(1)) == new_job(1, head=1, work=msgspec.Raw(b""))


async def test_where_commits_are_missing_jobs_begin_new_epochs(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1)
    await storage.close()
    disk.storages.clear()
    (disk.path / "commits").write_bytes(pack_count(99))
    again = await disk.open()
    job = await answer(again.jobs.get(1))
    assert (job.epoch, job) == ("e1", new_job(1, head=1, epoch="e1"))  # type: ignore[attr-defined]


async def test_jobs_that_are_wanted_together_are_read_together(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.storage.job_store._READ", 5)
    storage = await disk.open()
    for row in range(1, 7):
        await put(storage, row)
    again = await disk.kill()
    reads = list[int]()
    read_jobs = again.jobs._read_jobs

    def count(rows: Sequence[int]) -> object:
        reads.append(len(rows))
        return read_jobs(rows)

    monkeypatch.setattr(again.jobs, "_read_jobs", count)
    jobs = await asyncio.gather(*(answer(again.jobs.get(row)) for row in (1, 2, 3, 4, 5, 6, 6)))
    assert jobs == [new_job(row, head=1) for row in (1, 2, 3, 4, 5, 6, 6)]
    # The first is read at once; three fit into one read of the others.
    assert reads == [1, 5, 2]


async def test_one_that_is_not_there_costs_the_others_nothing(disk: Disk) -> None:
    storage = await disk.open()
    await put(storage, 1)
    again = await disk.kill()
    found = await asyncio.gather(*(answer(again.jobs.get(row)) for row in (7, 1, 8)), return_exceptions=True)
    assert [type(one) for one in found] == [NotFound, Job, NotFound]


async def test_what_cannot_be_read_is_an_error_and_works_later(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = await disk.open()
    await put(storage, 1)
    again = await disk.kill()

    def fail(table: Table, row: int) -> bytes:
        raise apsw.IOError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(again.jobs._rows, "get", fail)
        with pytest.raises(StorageFailed, match="disk I/O error"):
            await answer(again.jobs.get(1))
    assert await answer(again.jobs.get(1)) == new_job(1, head=1)


async def test_a_change_writes_the_state_and_its_event_and_not_the_request(disk: Disk) -> None:
    storage = await disk.open()
    work = msgspec.Raw(msgspec.json.encode("x" * 500_000))
    await answer(storage.jobs.put(new_job(1, head=1, work=work), [b"1"]))
    changes = RowChanges(1)
    _PutJob(new_job(1, head=2, work=work), [b"2"], Pending()).prepare(changes)
    assert {table: [len(record) < 1000 for _, record in rows] for table, rows in changes.put.items()} == {
        Table.JOBS: [True], Table.JOB_EVENTS: [True],
    }  # fmt: skip
    again = await disk.kill()
    assert await answer(again.jobs.get(1)) == new_job(1, head=1, work=work)


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
