"""Logs whose messages have left memory: every reader gets all of them, read back a page at a time."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from service.core.batch_store import MemoryBatches
from service.core.errors import StorageFailed
from service.core.fetching.batch import Batch, Keep
from service.core.fetching.request import Options
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.ports import KeptTopic
from service.core.topics.history import Pages
from service.core.topics.hub import Hub
from service.core.topics.memory_store import MemoryStore
from service.core.topics.position import Position
from service.core.topics.topic import OnLag, Topic
from service.core.topics.wire import Encoding
from tests.core.readers import FakeReader, Turns, make_hub

PAGE = 3


class Kept(MemoryStore):
    """A store with a log of this many messages; pages are read when the test says so."""

    def __init__(self, count: int) -> None:
        super().__init__(lambda: "e")
        self.messages: list[bytes | None] = [b"%d" % number for number in range(1, count + 1)]
        self.reads: list[tuple[int, Pending[Sequence[bytes | None]]]] = []

    def history(self, name: str, owner: Owner) -> KeptTopic:
        return KeptTopic(Position("e", len(self.messages)), read=self.read)

    def read(self, after: int) -> Pending[Sequence[bytes | None]]:
        pending: Pending[Sequence[bytes | None]] = Pending()
        self.reads.append((after, pending))
        return pending

    def answer(self) -> int:
        reads, self.reads = self.reads, []
        for after, pending in reads:
            pending.settle(self.messages[after : after + PAGE])
        return len(reads)


class Bench:
    def __init__(self, count: int = 10) -> None:
        self.turns = Turns()
        self.store = Kept(count)
        self.hub: Hub = make_hub(self.turns, store=self.store)
        self.topic: Topic = self.hub.log("batch:b", restored=True)

    def read(self, since: int = 0, encoding: Encoding = Encoding.EVENTS) -> FakeReader:
        reader = FakeReader(self.topic, OnLag.DISCONNECT, encoding)
        start = self.hub.attach(reader, Position("e", since) if since else "oldest")
        assert start.recovered is bool(since)
        return reader

    def settle(self) -> int:
        """Answer every read until there is none; return how many there were."""
        count = 0
        self.turns.settle()
        while answered := self.store.answer():
            count += answered
            self.turns.settle()
        return count


def test_a_reader_gets_all_that_is_kept_elsewhere_and_then_what_comes() -> None:
    bench = Bench()
    reader = bench.read()
    bench.turns.settle()
    assert reader.loading
    assert reader.lines == []
    assert bench.settle() == 4
    assert not reader.loading
    bench.hub.append(bench.topic, b"11", 0.0)
    bench.turns.settle()
    assert reader.lines == [str(number) for number in range(1, 12)]
    assert bench.topic.delivered == 11


def test_readers_at_one_place_share_a_page_in_all_encodings() -> None:
    bench = Bench(2)
    readers = [bench.read(encoding=encoding) for encoding in Encoding]
    assert bench.settle() == 1
    assert [reader.offset for reader in readers] == [2] * 4
    assert bench.hub.pages.read == 2
    assert b'"offset":2,"data":2' in readers[0].sent[0]
    assert readers[1].lines == ['{"offset":1,"data":1}', '{"offset":2,"data":2}']
    assert readers[3].lines[0] == "id: e:1"


def test_a_reader_resumes_in_the_middle() -> None:
    bench = Bench()
    reader = bench.read(since=7)
    bench.settle()
    assert reader.lines == ["8", "9", "10"]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_what_is_damaged_is_a_gap(encoding: Encoding) -> None:
    bench = Bench(3)
    bench.store.messages[1] = None
    reader = bench.read(encoding=encoding)
    bench.settle()
    text = b"".join(reader.sent)
    assert text.count(b"gap") == 1
    assert b'"from":2,"to":2' in text.replace(b" ", b"")
    assert reader.offset == 3


def test_a_page_that_cannot_be_read_ends_those_who_need_it() -> None:
    bench = Bench()
    far, near = bench.read(), bench.read(since=9)
    bench.turns.settle()
    (_, first), (_, second) = bench.store.reads
    bench.store.reads = []
    first.settle(StorageFailed("unreadable"))
    assert (far.evicted, near.evicted) == (True, False)
    second.settle([b"10"])
    bench.turns.settle()
    assert near.lines == ["10"]
    again = bench.read()
    bench.settle()
    assert len(again.lines) == 10, "it is tried again"


def test_a_topic_that_goes_while_a_page_is_read_keeps_none() -> None:
    bench = Bench()
    reader = bench.read(since=3)
    bench.read()
    bench.turns.settle()
    assert bench.store.answer() == 2
    bench.turns.settle()
    bench.hub.drop(bench.topic)
    assert reader.evicted
    assert bench.store.answer() > 0
    assert bench.hub.pages.size == 0


def test_the_pages_of_all_topics_share_a_bound_and_the_longest_unused_goes() -> None:
    bench = Bench()
    size = 3 * 80
    pages = bench.hub.pages = Pages(bench.hub.pages.contain, bench.hub.wake, bound=size)
    bench.topic.history._pages = pages
    reader = bench.read()
    bench.settle()
    assert len(reader.lines) == 10
    assert pages.size <= size
    assert len(pages._pages) == 1
    bench.hub.drop(bench.topic)
    assert pages.size == 0
    assert "B>" in repr(pages)


def test_what_leaves_memory_stays_readable() -> None:
    bench = Bench(0)
    for number in range(1, 11):
        bench.store.messages.append(b"%d" % number)
        bench.hub.append(bench.topic, b"%d" % number, 0.0)
    before = bench.hub.log_bytes
    freed = bench.hub.spill(bench.topic, before // 2)
    assert (bench.hub.log_bytes, bench.topic.size) == (before - freed, before - freed)
    assert (bench.topic.first, bench.topic.ring.loaded) == (1, 7)
    assert bench.topic.ring.size_of(7) == len(bench.topic.ring._frames[0])
    readers = [bench.read(since=since) for since in range(10)]
    bench.settle()
    for since, reader in enumerate(readers):
        assert reader.lines == [str(number) for number in range(since + 1, 11)]
    assert bench.hub.spill(bench.topic, before) == before - freed
    assert "0 pages are read" in repr(bench.topic.history)
    bench.topic.final = True
    last = bench.read(since=8)
    bench.settle()
    assert last.complete


def test_a_log_that_goes_on_further_ahead_has_nothing_before_that() -> None:
    bench = Bench(4)
    bench.topic.ring.skip(9)
    assert (bench.topic.first, bench.topic.ring.loaded, bench.topic.ring.spilled) == (10, 10, 0)


def test_a_batch_wants_what_had_not_ended() -> None:
    topic = Bench(0).topic
    items = [f"http://h/{number}" for number in range(5)]
    batch = Batch("b", topic, Owner("o"), Keep.DETACHED, items, Options(), 0.0, None)  # type: ignore[arg-type]
    batch.recall([(1, 200), (3, 0), (1, 500), (-1, 0), (-2, 0), (9, 200)])
    assert (batch.ok, batch.failed, batch.by_status) == (1, 1, {"200": 1})
    assert batch.wanted == [0, 2, 4]
    assert all(after > before for before, after in pairwise(batch.wanted))


def test_without_a_disk_batches_are_accepted_at_once() -> None:
    store, topic = MemoryBatches(), Bench(0).topic
    batch = Batch("b", topic, Owner("o"), Keep.LINGER, ["u"], Options(), 0.0, None)  # type: ignore[arg-type]
    assert not store.outlives
    assert store.begin(batch) is None  # type: ignore[func-returns-value]
    assert store.change(batch, Keep.DETACHED, cancelled=True) is None  # type: ignore[func-returns-value]
    store.end(batch)


@pytest.mark.parametrize("readers", [1, 2])
def test_what_left_memory_before_it_was_delivered_is_read_back_and_later_messages_come(readers: int) -> None:
    bench = Bench(0)
    those = [bench.read() for _ in range(readers)]
    bench.settle()
    for number in (b"1", b"2"):
        bench.hub.append(bench.topic, number, 0.0)
        bench.store.messages.append(number)
        bench.hub.spill(bench.topic, 1 << 20)
        bench.store.answer()
        bench.turns.settle()
    bench.settle()
    bench.hub.append(bench.topic, b"3", 0.0)
    bench.settle()
    assert [reader.lines for reader in those] == [["1", "2", "3"]] * readers
