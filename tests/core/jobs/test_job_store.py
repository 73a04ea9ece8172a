"""What every store of jobs does."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import pytest

from service.core.errors import NotFound
from service.core.jobs.job import Job
from service.core.jobs.store import JobStore, MemoryJobs
from service.core.jobs.summary import JobState
from service.core.pending import Pending
from tests.core.jobs.jobs import new_job

T = TypeVar("T")


class JobStoreContract:
    """Subclasses make the store, and wait until it has answered what it was asked."""

    def make(self) -> JobStore:
        raise NotImplementedError

    async def settle(self, store: JobStore) -> None:
        """Return when the store has answered everything."""

    async def value(self, store: JobStore, answer: T | Pending[T]) -> T:
        if not isinstance(answer, Pending):
            return answer
        outcomes: list[T | Exception] = []
        answer.on_settled(outcomes.append)
        await self.settle(store)
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
        return outcomes[0]

    async def put(self, store: JobStore, job: Job, *events: bytes) -> None:
        await self.value(store, store.put(job, events) or job)

    async def events(self, store: JobStore, row: int, after: int = 0) -> Sequence[bytes | None]:
        return await self.value(store, store.read(row, after))

    async def test_rows_are_numbered_upwards(self) -> None:
        store = self.make()
        assert [store.new_row(), store.new_row(), store.last_row] == [1, 2, 2]

    async def test_what_was_put_is_there_with_its_events(self) -> None:
        store = self.make()
        row = store.new_row()
        asked = {"work": msgspec.Raw(b'{"a":1}'), "grant": msgspec.Raw(b"[1]")}
        await self.put(store, new_job(row, head=1, **asked), b"1")
        await self.put(store, new_job(row, head=3, state=JobState.RUNNING, **asked), b"2", b"3")
        await self.put(store, new_job(row, head=3, state=JobState.RUNNING, stopping=True, **asked))
        job = await self.value(store, store.get(row))
        assert (job.state, job.head, job.stopping) == (JobState.RUNNING, 3, True)
        assert (bytes(job.work), bytes(job.grant)) == (b'{"a":1}', b"[1]")
        assert list(await self.events(store, row)) == [b"1", b"2", b"3"]
        assert list(await self.events(store, row, after=2)) == [b"3"]

    async def test_jobs_do_not_share_events(self) -> None:
        store = self.make()
        for row in (store.new_row(), store.new_row()):
            await self.put(store, new_job(row, head=1), b"%d" % row)
        assert [list(await self.events(store, row)) for row in (1, 2)] == [[b"1"], [b"2"]]

    async def test_what_is_not_there_is_not_found(self) -> None:
        store = self.make()
        with pytest.raises(NotFound):
            await self.value(store, store.get(9))
        with pytest.raises(NotFound):
            await self.events(store, 9)

    async def test_what_was_dropped_is_gone(self) -> None:
        store = self.make()
        row = store.new_row()
        await self.put(store, new_job(row, head=1), b"1")
        store.drop(row, 1)
        await self.settle(store)
        with pytest.raises(NotFound):
            await self.value(store, store.get(row))
        with pytest.raises(NotFound):
            await self.events(store, row)
        store.drop(row, 1)
        await self.settle(store)


class TestMemoryJobs(JobStoreContract):
    """The store without a disk."""

    def make(self) -> JobStore:
        return MemoryJobs()

    def test_a_start_begins_without_jobs(self) -> None:
        store = MemoryJobs()
        assert (len(store.kept().agenda), store.durable, repr(store)) == (0, False, "<MemoryJobs 0>")
