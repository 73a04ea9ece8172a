"""Messages that are stored together: each with its own answer, in the order in which they came."""

import asyncio

from service.core.containment import Containment
from service.core.errors import InternalError, StorageFailed
from service.core.owner import Owner
from service.core.ports import PublishKey
from service.core.topics.position import Position
from service.storage.appends import Append, Appends
from service.storage.database import RowChanges
from service.storage.kept_topics import KeptTopicRows
from service.storage.key_rows import KeyRows
from service.storage.records import read_message
from service.storage.tables import Table
from tests.storage.test_topic_store import Disk, answer


class Bench:
    """An item with a message for each of some topics, and what happens to them."""

    def __init__(self, *topics: KeptTopicRows) -> None:
        self.bugs: list[object] = []
        self.appended: list[KeptTopicRows] = []
        self.keys = KeyRows()
        self.changes = RowChanges(5)
        self.item = Appends(self.keys, Containment(self.bugs.append), self.appended.append)
        self.appends = [Append(kept, b"%d" % number, 1.5, None) for number, kept in enumerate(topics)]
        self.answers: list[object] = []
        for append in self.appends:
            self.item.add(append)
            append.on_settled(self.answers.append)


def topic(number: int) -> KeptTopicRows:
    """Return a topic that has its row."""
    return KeptTopicRows(number, f"t{number}", "", f"e{number}", stored=True)


def test_each_message_has_its_row_and_offset_and_answer() -> None:
    a, b = topic(1), topic(2)
    bench = Bench(a, b, a)
    bench.item.prepare(bench.changes)
    rows = [read_message(row, record) for row, record in enumerate(bench.changes.messages, 5)]
    assert [(row.topic, row.offset, row.data) for row in rows] == [(1, 1, b"0"), (2, 1, b"1"), (1, 2, b"2")]
    assert (list(a.rows), list(b.rows), bench.answers) == ([5, 7], [6], [])
    bench.item.committed()
    assert bench.answers == [Position("e1", 1), Position("e2", 1), Position("e1", 2)]
    assert bench.appended == [a, b, a]
    assert (bench.item.count, bench.item.size) == (3, 903)


def test_what_is_refused_gives_all_its_offsets_back_before_anybody_hears_of_it() -> None:
    a = topic(1)
    bench = Bench(a, a)
    heads: list[int] = []
    for append in bench.appends:
        append.on_settled(lambda _: heads.append(a.head))
    bench.item.prepare(bench.changes)
    bench.item.refused(StorageFailed("storage: the disk is full"))
    assert [str(one) for one in bench.answers] == ["storage: the disk is full"] * 2
    assert (heads, list(a.rows), bench.appended) == ([0, 0], [], [])


def test_what_cannot_be_prepared_is_refused_alone() -> None:
    a, b = topic(1), topic(2)
    a.head = b.head = 7
    bench = Bench(a, b, a, b)
    bench.appends[1].data = "not bytes"  # type: ignore[assignment]
    bench.appends[2].key = PublishKey(Owner("a"), object())  # type: ignore[arg-type]
    bench.item.prepare(bench.changes)
    assert [type(one) for one in bench.answers] == [InternalError, InternalError]
    bench.item.committed()
    assert bench.answers[2:] == [Position("e1", 8), Position("e2", 8)]
    assert (list(a.rows), list(b.rows), len(bench.changes.messages), len(bench.bugs)) == ([5], [6], 2, 2)


def test_a_topic_that_was_dropped_costs_no_other_message_its_place() -> None:
    a, b = topic(1), topic(2)
    bench = Bench(a, b)
    a.dropped = True
    bench.item.prepare(bench.changes)
    bench.item.committed()
    assert [str(one) for one in bench.answers] == ["the topic was dropped", "e2:1"]
    assert (a.head, list(b.rows)) == (0, [5])


def test_an_answer_that_raises_costs_no_other_its_own() -> None:
    def odd(outcome: object) -> None:
        raise RuntimeError("odd")

    bench = Bench(topic(1), topic(2))
    bench.appends[0].on_settled(odd)
    bench.item.prepare(bench.changes)
    bench.item.committed()
    assert bench.answers == [Position("e1", 1), Position("e2", 1)]
    assert len(bench.bugs) == 1


def test_a_new_topic_has_its_row_with_its_first_message_and_a_key_has_one() -> None:
    kept = KeptTopicRows(1, "t1", "", "e1")
    bench = Bench(kept)
    bench.appends[0].key = PublishKey(Owner("a"), "k")
    bench.item.prepare(bench.changes)
    assert {table: len(rows) for table, rows in bench.changes.put.items()} == {Table.TOPICS: 1, Table.KEYS: 1}
    assert not kept.stored
    bench.item.committed()
    assert kept.stored
    assert len(bench.keys) == 1


async def test_messages_that_come_one_after_another_are_few_items_in_order(disk: Disk) -> None:
    storage = await disk.open()
    hub = disk.hub(storage)
    pending = [hub.publish("a", b"%d" % number, 0.0) for number in range(120)]
    hub.publish_all(["a", "b"], b"[]", 0.0)
    pending.append(hub.publish("a", b"120", 0.0))
    # That a topic is new is an item of its own, and so is one message for several.
    assert storage.writer.waiting == 124
    async with asyncio.timeout(30):
        offsets = [await answer(one) for one in pending]
    epoch = hub.topics["a"].epoch
    assert offsets == [*(Position(epoch, number) for number in range(1, 121)), Position(epoch, 122)]
    assert storage.writer.commits == 1
