"""The contract of a store of batches; the store of a service without a disk, and the fake that answers on demand."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from service.core.batch_store import BatchStore, KeptBatch, MemoryBatches
from service.core.errors import StorageFailed
from service.core.fetching.batch import Batch, Keep
from service.core.fetching.request import Options
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.topic import Topic
from tests.core.listeners import FakeListener

__all__ = ["BatchStoreContract", "LateBatches"]


class BatchStoreContract:
    """Subclasses make the store, have it answer, and say what it keeps."""

    def make(self) -> BatchStore:
        raise NotImplementedError

    def topic(self, store: BatchStore, name: str) -> Topic:
        """Return the topic of a new batch, as the hub makes it."""
        return Topic(name, "e", None)

    async def settle(self) -> None:
        """Return when the store has answered everything."""

    def drop(self, store: BatchStore, batch: Batch) -> None:
        """Drop the topic of a batch, as the hub does."""

    async def kept(self) -> Sequence[KeptBatch]:
        """Return what a service goes on with that begins now."""
        return []

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Have what is asked of the store meanwhile fail, if it can."""
        yield

    def begun(self, store: BatchStore, number: int = 1) -> Batch:
        topic = self.topic(store, f"batch:b{number}")
        urls = [f"http://h.example/{index}" for index in range(3)]
        return Batch(f"b{number}", topic, Owner("a"), Keep.LINGER, urls, Options(), 0.0, FakeListener())

    async def value(self, answer: "Pending[Batch] | None", batch: Batch) -> Batch:
        """Return the answer; raise what refused the batch."""
        if answer is None:
            return batch
        assert not answer.known, "a pending answer comes from outside of the call"
        outcomes: list[Batch | Exception] = []
        answer.on_settled(outcomes.append)
        await self.settle()
        (outcome,) = outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def test_a_batch_is_accepted_with_the_answer_which_is_the_batch(self) -> None:
        store = self.make()
        batch = self.begun(store)
        assert await self.value(store.begin(batch), batch) is batch
        assert await self.value(store.change(batch, Keep.DETACHED, cancelled=False), batch) is batch

    async def test_answers_about_one_batch_come_in_the_order_of_the_calls(self) -> None:
        store = self.make()
        batch = self.begun(store)
        answers = [
            store.begin(batch),
            store.change(batch, Keep.DETACHED, cancelled=False),
            store.change(batch, Keep.DETACHED, cancelled=True),
        ]
        order: list[int] = []
        for number, answer in enumerate(answers):
            if answer is None:
                order.append(number)
            else:
                answer.on_settled(lambda _, number=number: order.append(number))  # type: ignore[misc]
        await self.settle()
        assert order == [0, 1, 2]

    async def test_a_store_changes_no_batch(self) -> None:
        store = self.make()
        batch = self.begun(store)
        before = (batch.keep, batch.cancelled, batch.done, list(batch.items), batch.topic.head)
        await self.value(store.begin(batch), batch)
        await self.value(store.change(batch, Keep.DETACHED, cancelled=True), batch)
        store.end(batch)
        await self.settle()
        assert (batch.keep, batch.cancelled, batch.done, list(batch.items), batch.topic.head) == before

    async def test_what_outlives_the_service_is_the_newest_change_of_each_batch(self) -> None:
        store = self.make()
        first, second = self.begun(store, 1), self.begun(store, 2)
        for batch in (first, second):
            await self.value(store.begin(batch), batch)
        await self.value(store.change(first, Keep.DETACHED, cancelled=False), first)
        await self.value(store.change(second, Keep.LINGER, cancelled=True), second)
        kept = {one.id: (one.keep, one.cancelled, len(one.items)) for one in await self.kept()}
        assert kept == ({"b1": (Keep.DETACHED, False, 3), "b2": (Keep.LINGER, True, 3)} if store.outlives else {})

    async def test_nothing_is_kept_of_a_batch_whose_topic_was_dropped_and_its_end_may_come_then(self) -> None:
        store = self.make()
        batch = self.begun(store)
        await self.value(store.begin(batch), batch)
        self.drop(store, batch)
        store.end(batch)
        store.end(batch)
        await self.settle()
        assert list(await self.kept()) == []

    async def test_a_batch_that_is_refused_leaves_nothing(self) -> None:
        store = self.make()
        batch = self.begun(store)
        with self.failing():
            try:
                await self.value(store.begin(batch), batch)
            except StorageFailed:
                assert list(await self.kept()) == []
                return
        assert isinstance(store, MemoryBatches), "a store that can fail refuses with StorageFailed"

    async def test_a_change_that_is_refused_leaves_what_was_kept_before(self) -> None:
        store = self.make()
        batch = self.begun(store)
        await self.value(store.begin(batch), batch)
        with self.failing(), suppress(StorageFailed):
            await self.value(store.change(batch, Keep.DETACHED, cancelled=True), batch)
        kept = [(one.keep, one.cancelled) for one in await self.kept()]
        assert kept == ([(Keep.LINGER, False)] if store.outlives else [])


class TestMemoryBatches(BatchStoreContract):
    """All answers are known at once, and nothing is kept."""

    def make(self) -> BatchStore:
        return MemoryBatches()


class LateBatches:
    """Answers when :meth:`answer` is called, in order; with an error while ``fails`` is set."""

    outlives = False

    def __init__(self) -> None:
        self.fails = False
        self._asked: list[tuple[Pending[Batch], Batch]] = []
        self.ended: list[Batch] = []

    def begin(self, batch: Batch) -> Pending[Batch]:
        """Answer later."""
        pending: Pending[Batch] = Pending()
        self._asked.append((pending, batch))
        return pending

    def change(self, batch: Batch, keep: Keep, *, cancelled: bool) -> Pending[Batch]:
        """Answer later."""
        return self.begin(batch)

    def end(self, batch: Batch) -> None:
        """Note it."""
        self.ended.append(batch)

    def answer(self) -> None:
        """Answer everything that was asked."""
        asked, self._asked = self._asked, []
        for pending, batch in asked:
            pending.settle(StorageFailed("the disk is full") if self.fails else batch)


class TestLateBatches(BatchStoreContract):
    """The fake of the tests."""

    @pytest.fixture(autouse=True)
    def fake(self) -> None:
        self.store = LateBatches()

    def make(self) -> BatchStore:
        return self.store

    async def settle(self) -> None:
        await asyncio.sleep(0)
        self.store.answer()

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.store.fails = True
        yield
        self.store.fails = False
