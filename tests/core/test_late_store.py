"""A hub over a store that answers late: nothing is there before it is stored, and nothing is lost or sent twice."""

import pytest

from service.core.errors import NotFound, Overloaded, StorageFailed
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending
from service.core.ports import KeptKey, PublishKey
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.position import Position
from service.core.topics.topic import OnLag, Topic
from service.core.topics.wire import Encoding
from tests.core.readers import FakeReader, Turns, make_hub
from tests.core.stores import FakeStore, Kept


class Bench:
    def __init__(self, limits: HubLimits | None = None, store: FakeStore | None = None) -> None:
        self.turns = Turns()
        self.store = store or FakeStore()
        self.hub: Hub = make_hub(self.turns, limits, self.store)

    def publish(self, name: str, data: bytes = b"1", **options: object) -> list[object]:
        """Publish, and return the list that gets the outcome."""
        heard: list[object] = []
        answer = self.hub.publish(name, data, self.turns.now, **options)  # type: ignore[arg-type]
        assert isinstance(answer, Pending)
        answer.on_settled(heard.append)
        return heard

    def reader(self, name: str, on_lag: OnLag = OnLag.DISCONNECT, since: object = "newest") -> FakeReader:
        reader = FakeReader(self.hub.own(name), on_lag)
        self.hub.attach(reader, since)  # type: ignore[arg-type]
        return reader


def test_a_message_is_there_only_when_it_is_stored() -> None:
    bench = Bench()
    reader = bench.reader("t")
    first, second = bench.publish("t", b"1"), bench.publish("t", b"2")
    bench.turns.settle()
    assert (first, second, reader.lines, bench.hub.own("t").head) == ([], [], [], 0)
    assert bench.hub.pending_appends.messages == 2
    bench.store.answer()
    assert first == [Position("e1", 1)]
    bench.turns.settle()
    assert (second, reader.lines) == ([], ["1"])
    bench.store.answer()
    bench.turns.settle()
    assert (second, reader.lines) == ([Position("e1", 2)], ["1", "2"])
    assert (bench.hub.pending_appends.messages, bench.hub.pending_appends.pool.used) == (0, 0)


def test_topics_do_not_wait_for_each_other() -> None:
    bench = Bench()
    slow, quick = bench.reader("slow"), bench.reader("quick")
    first, second = bench.publish("slow"), bench.publish("quick")
    bench.store.answer("quick")
    bench.turns.settle()
    assert (first, len(second), slow.lines, quick.lines) == ([], 1, [], ["1"])


def test_what_could_not_be_stored_leaves_no_trace() -> None:
    bench = Bench()
    reader = bench.reader("t")
    lost, kept = bench.publish("t", b"lost", key="k"), bench.publish("t", b"kept")
    bench.store.fail()
    bench.store.answer()
    bench.turns.settle()
    assert isinstance(lost[0], StorageFailed)
    assert (kept, reader.lines) == ([Position("e1", 1)], ["kept"])
    # The key is free again: the repetition is a publish of its own.
    again = bench.publish("t", b"again", key="k")
    bench.store.answer()
    assert again == [Position("e1", 2)]
    assert (bench.hub.pending_appends.pool.used, bench.hub.keys.pool.used) == (0, 1)


def test_a_key_that_waits_publishes_once() -> None:
    bench = Bench()
    first, again = bench.publish("t", key="k"), bench.publish("t", key="k")
    assert len(bench.store.appends) == 1
    bench.store.answer()
    assert first == again == [Position("e1", 1)]
    assert bench.hub.publish("t", b"1", 0.0, key="k") == Position("e1", 1)


def test_a_key_that_is_forgotten_while_it_waits_is_not_known_again() -> None:
    bench = Bench()
    bench.publish("t", key="k")
    bench.hub.sweep(200.0)
    assert bench.hub.keys.pool.used == 0
    bench.store.answer()
    assert bench.hub.keys.pool.used == 0


def test_one_message_to_many_topics_is_stored_in_all_or_in_none() -> None:
    bench = Bench()
    readers = [bench.reader(name) for name in ("a", "b")]
    heard: list[object] = []
    for _ in range(2):
        answer = bench.hub.publish_all(["a", "b"], b"1", 0.0)
        assert isinstance(answer, Pending)
        answer.on_settled(heard.append)
    bench.store.fail()
    bench.store.answer()
    bench.turns.settle()
    assert isinstance(heard[0], StorageFailed)
    assert heard[1] == [Position("e1", 1), Position("e2", 1)]
    assert [reader.lines for reader in readers] == [["1"], ["1"]]
    assert bench.hub.pending_appends.messages == 0


def test_what_waits_for_the_store_is_bounded() -> None:
    bench = Bench(HubLimits(unstored=100_000))
    me, other = Owner("me"), Owner("other")
    while bench.hub.pending_appends.pool.room(me) > 4 * 1024:
        bench.publish("t", b"x" * 1000, owner=me)
    assert 20 <= bench.hub.pending_appends.messages <= 25
    refused = "limit unstored: this client has [0-9]+, its share of 100000; the store is slower than its publishers"
    with pytest.raises(Overloaded, match=refused):
        bench.publish("t", b"x" * 4000, owner=me)
    bench.publish("u", b"x" * 1000, owner=other)
    with pytest.raises(Overloaded):
        bench.hub.check_room(["t"], 4000, me)
    # What the service itself appends is counted in; its sources stop long before publishes are refused.
    bench.store.settle()
    log = bench.hub.log("batch:b", me)
    while bench.hub.pending_appends.has_room(me):
        bench.hub.append(log, b"x" * 1000, 0.0)
    assert 7 <= bench.hub.pending_appends.messages <= 9
    bench.publish("t", b"x" * 4000, owner=me)
    bench.store.settle()
    assert bench.hub.pending_appends.has_room(me)
    bench.publish("t", b"x", owner=me)


def test_a_topic_with_messages_that_wait_is_not_swept_away() -> None:
    bench = Bench()
    heard = bench.publish("t")
    bench.hub.sweep(1000.0)
    assert "t" in bench.hub.topics
    bench.store.answer()
    bench.hub.sweep(1000.0)
    assert heard == [Position("e1", 1)]
    assert "t" not in bench.hub.topics
    assert bench.hub.find("t", SERVICE).position == Position("e1", 1)


def test_a_topic_that_is_dropped_takes_what_waits_with_it() -> None:
    bench = Bench()
    topic = bench.hub.log("batch:b")
    answer = bench.hub.append(topic, b"1", 0.0)
    assert isinstance(answer, Pending)
    bench.hub.drop(topic)
    bench.store.answer()
    assert (topic.head, bench.hub.log_bytes, bench.hub.pending_appends.messages) == (0, 0, 0)


def test_another_epoch_sends_readers_away_to_start_over() -> None:
    bench = Bench()
    reader = bench.reader("t")
    bench.publish("t", b"1")
    bench.store.answer()
    bench.turns.settle()
    heard = [bench.publish("t", b"2"), bench.publish("t", b"3")]
    bench.store.lose("t")
    bench.store.answer()
    bench.store.answer()
    bench.turns.settle()
    assert heard == [[Position("e2", 1)], [Position("e2", 2)]]
    assert (reader.lines, reader.evicted, reader.attached) == (["1"], True, False)
    again = FakeReader(bench.hub.own("t"))
    start = bench.hub.attach(again, Position("e1", 1))
    bench.turns.settle()
    assert (start.position, start.recovered) == (Position("e2", 0), False)
    assert again.lines == ["2", "3"]
    assert bench.hub.rings.pool.used == bench.hub.own("t").size


def test_what_others_have_lost_for_this_service_is_a_gap() -> None:
    bench = Bench()
    reader = bench.reader("t", OnLag.DROP_OLDEST)
    bench.publish("t", b"1")
    bench.store.answer()
    bench.turns.settle()
    bench.store.topics["t"].head = 5
    bench.publish("t", b"7th")
    bench.store.answer()
    bench.turns.settle()
    assert reader.lines == ["1", '{"event":"gap","from":2,"to":5}', "7th"]


def test_a_message_that_is_there_already_is_not_appended_again() -> None:
    bench = Bench()
    reader = bench.reader("t")
    bench.publish("t", b"1")
    bench.store.answer()
    heard = bench.publish("t", b"1")
    bench.store.topics["t"].head = 0
    bench.store.answer()
    bench.turns.settle()
    assert (heard, reader.lines) == ([Position("e1", 1)], ["1"])


def kept_store(*, late: bool) -> FakeStore:
    """Return a store that has 4 messages of topic t, the third damaged, and one key."""
    store = FakeStore(late_history=late)
    key = KeptKey(PublishKey(Owner("me"), "k"), 12, -10.0)
    store.topics["t"] = Kept("kept", 14, [b'"a"', b'"b"', None, b'"d"'], [-10.0] * 4, [key])
    return store


def test_what_was_kept_is_there_after_a_restart_and_what_is_damaged_is_a_gap() -> None:
    bench = Bench(store=kept_store(late=False))
    topic = bench.hub.find("t", SERVICE)
    assert isinstance(topic, Topic)
    assert (topic.position, topic.first) == (Position("kept", 14), 11)
    readers = {encoding: FakeReader(topic, encoding=encoding) for encoding in Encoding}
    for reader in readers.values():
        assert bench.hub.attach(reader, Position("kept", 10)).recovered
    bench.turns.settle()
    assert readers[Encoding.EVENTS].lines == ['"a"', '"b"', '{"event":"gap","from":13,"to":13}', '"d"']
    assert readers[Encoding.LINES].lines == [
        '{"offset":11,"data":"a"}', '{"offset":12,"data":"b"}', '{"event":"gap","from":13,"to":13}',
        '{"offset":14,"data":"d"}',
    ]  # fmt: skip
    assert b"id: kept:13\nevent: gap\n" in b"".join(readers[Encoding.SSE].sent)
    assert b'"method":"gap","params":{"topic":"t","from":13,"to":13}' in b"".join(readers[Encoding.FRAMES].sent)
    assert bench.hub.rings.pool.used == topic.size
    assert bench.hub.publish("t", b"1", 0.0, key="k", owner=Owner("me")) == Position("kept", 12)
    # Where the damaged one has left the ring, what follows is rendered as usual.
    topic.ring.shrink()
    late = FakeReader(topic)
    bench.hub.attach(late, "oldest")
    bench.turns.settle()
    assert late.lines == ['"d"']


def test_what_was_kept_too_long_is_gone_after_a_restart() -> None:
    bench = Bench(store=kept_store(late=False))
    bench.turns.now = 1000.0
    topic = bench.hub.own("t")
    assert (topic.position, topic.first, bench.hub.rings.pool.used) == (Position("kept", 14), 15, 0)


def test_rings_that_come_back_keep_to_the_memory_that_all_share() -> None:
    store = FakeStore()
    for number in range(20):
        store.topics[f"t{number}"] = Kept("e", 10, [b"x" * 1000] * 10, [0.0] * 10)
    bench = Bench(HubLimits(ring_bytes=100_000), store)
    for number in range(20):
        bench.hub.own(f"t{number}")
    assert bench.hub.rings.pool.used <= 100_000


def test_a_topic_may_have_to_be_asked_for() -> None:
    bench = Bench(store=kept_store(late=True))
    with pytest.raises(NotFound):
        bench.hub.find("u", SERVICE)
    opened: list[object] = []
    for _ in range(2):
        answer = bench.hub.readable("t", Owner("me"))
        assert isinstance(answer, Pending)
        answer.on_settled(opened.append)
    with pytest.raises(StorageFailed, match="is being read"):
        bench.hub.own("t")
    first, second = bench.publish("t", b'"e"', key="new"), bench.publish("t", b'"e"', key="new")
    assert (len(bench.store.histories), bench.hub.pending_appends.messages) == (1, 1)
    bench.store.open()
    assert opened == [bench.hub.own("t")] * 2
    assert len(bench.store.appends) == 1
    bench.store.answer()
    assert first == second == [Position("kept", 15)]
    assert bench.hub.pending_appends.messages == 0


def test_a_topic_that_cannot_be_read_is_refused_to_all_who_wait_and_asked_for_again() -> None:
    bench = Bench(store=kept_store(late=True))
    heard = bench.publish("t")
    bench.store.refuse_open()
    assert isinstance(heard[0], StorageFailed)
    assert (bench.hub.topics, bench.hub.owners.used, bench.hub.pending_appends.messages) == ({}, 0, 0)
    again = bench.publish("t")
    bench.store.settle()
    assert again == [Position("kept", 15)]


def test_what_the_service_itself_writes_is_there_at_once() -> None:
    bench = Bench(store=FakeStore(late_history=True))
    assert bench.hub.log("batch:b").head == bench.hub.own("watch:w").head == bench.hub.own("_stats").head == 0


def test_a_log_that_was_kept_counts_as_a_log_again() -> None:
    store = FakeStore()
    store.topics["batch:b"] = Kept("e9", 2, [b"1", None], [0.0, 0.0])
    bench = Bench(store=store)
    log = bench.hub.log("batch:b")
    assert (log.first, log.head, log.epoch) == (1, 2, "e9")
    assert bench.hub.log_bytes == log.size > 0
    assert bench.hub.rings.pool.used == 0


def test_what_waits_for_the_store_says_how_much_it_is() -> None:
    bench = Bench()
    for name in "ttu":
        bench.publish(name)
    assert repr(bench.hub.pending_appends) == "<PendingAppends 3 messages of 2 topics>"
    bench.store.settle()
    assert repr(bench.hub.pending_appends) == "<PendingAppends 0 messages of 0 topics>"
