"""Visits bring every reader everything once and in order; memory gives way in the stated order."""

from collections.abc import Sequence

import orjson
import pytest

from service.core.errors import LimitReached, NotFound, Overloaded
from service.core.owner import SERVICE, Owner
from service.core.pending import Pending
from service.core.ports import KeptTopic
from service.core.topics.hub import HubLimits
from service.core.topics.topic import OnLag, Position, RingLimits, Topic
from tests.core.readers import FakeReader, Turns, make_hub

A = Owner("a")


def test_what_is_appended_in_one_turn_comes_in_one_write() -> None:
    turns = Turns()
    hub = make_hub(turns)
    reader = FakeReader(hub.own("t"))
    hub.attach(reader, "newest")
    for number in range(3):
        hub.publish("t", b"%d" % number, 0.0)
    assert reader.sent == []
    turns.settle()
    assert reader.sent == [b"0\n1\n2\n"]


def test_a_long_visit_is_cut_into_slices_and_topics_take_turns() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=10))
    crowd = [FakeReader(hub.own("large")) for _ in range(25)]
    alone = FakeReader(hub.own("small"))
    for reader in [*crowd, alone]:
        hub.attach(reader, "newest")
    hub.publish("large", b"1", 0.0)
    hub.publish("small", b"1", 0.0)
    turns.turn()
    assert sum(bool(reader.sent) for reader in crowd) == 10
    turns.turn()
    assert alone.sent == [b"1\n"]
    turns.settle()
    assert all(reader.sent == [b"1\n"] for reader in crowd)


def test_a_message_that_comes_during_a_visit_reaches_those_who_had_their_turn() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=2))
    readers = [FakeReader(hub.own("t")) for _ in range(5)]
    for reader in readers:
        hub.attach(reader, "newest")
    hub.publish("t", b"1", 0.0)
    turns.turn()
    turns.turn()
    hub.publish("t", b"2", 0.0)
    turns.settle()
    assert all(b"".join(reader.sent) == b"1\n2\n" for reader in readers)


def test_a_reader_that_joins_during_a_visit_is_not_forgotten() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=2))
    for _ in range(5):
        hub.attach(FakeReader(hub.own("t")), "newest")
    hub.publish("t", b"1", 0.0)
    turns.turn()
    late = FakeReader(hub.own("t"))
    hub.attach(late, "oldest")
    turns.settle()
    assert late.sent == [b"1\n"]


def test_a_reader_that_leaves_during_a_visit_is_passed_over() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=1))
    readers = [FakeReader(hub.own("t")) for _ in range(3)]
    for reader in readers:
        hub.attach(reader, "newest")
    hub.publish("t", b"1", 0.0)
    turns.turn()
    readers[2].detach()
    turns.settle()
    assert readers[2].sent == []


def test_a_reader_that_fails_is_evicted_and_costs_nobody_else_a_message() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=2))
    readers = [FakeReader(hub.own("t")) for _ in range(5)]
    for reader in readers:
        hub.attach(reader, "newest")

    def fail() -> None:
        raise RuntimeError("its transport is closed")

    readers[1].visit = fail  # type: ignore[method-assign]
    hub.publish("t", b"0", 0.0)
    with pytest.raises(RuntimeError, match="closed"):
        turns.settle()
    turns.settle()
    assert readers[1].evicted
    hub.publish("t", b"1", 0.0)
    turns.settle()
    assert all(b"".join(reader.sent) == b"0\n1\n" for reader in readers if reader is not readers[1])


def test_readers_that_fail_as_a_topic_ends_or_goes_cost_the_others_nothing() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    turns = Turns()
    hub = make_hub(turns)
    for end, called in ((hub.finish, "complete"), (hub.drop, "evicted")):
        topic = hub.log("batch:b")
        readers = [FakeReader(topic) for _ in range(3)]
        for reader in readers:
            hub.attach(reader, "newest")
        readers[0].finished = readers[0].evict = fail  # type: ignore[method-assign]
        end(topic)
        assert [getattr(reader, called) for reader in readers] == [False, True, True]
        with pytest.raises(RuntimeError, match="bug"):
            turns.settle()
        hub.drop(topic)


def test_a_topic_that_cannot_be_swept_costs_the_others_nothing() -> None:
    turns = Turns()
    hub = make_hub(turns)
    for name in ("a", "b"):
        hub.publish(name, b"1", 0.0)
    hub.topics["a"].ring.times = [None]  # type: ignore[list-item]
    hub.sweep(1e6)
    assert [*hub.topics] == ["a"]
    with pytest.raises(TypeError):
        turns.settle()


def test_publishers_are_pressed_while_a_ring_fills_faster_than_visits_go_round() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(messages=100)))
    hub.attach(FakeReader(hub.own("t")), "newest")
    for _ in range(25):
        hub.publish("t", b"1", 0.0)
    assert not hub.pressed
    hub.publish("t", b"1", 0.0)
    assert hub.pressed
    turns.settle()
    assert not hub.pressed


def test_the_same_key_publishes_once_for_two_minutes() -> None:
    hub = make_hub(Turns())
    first = hub.publish("t", b"1", 0.0, key="k")
    assert hub.publish("t", b"2", 119.0, key="k") == first
    assert hub.publish("other", b"1", 119.0, key="k") == Position("e2", 1)
    assert hub.publish("t", b"2", 121.0, key="k") == Position("e1", 2)


def test_a_full_key_store_refuses_rather_than_forget() -> None:
    hub = make_hub(Turns(), HubLimits(keys=2))
    hub.publish("t", b"1", 0.0, key="a")
    with pytest.raises(LimitReached, match="limit keys") as refused:
        hub.publish("t", b"1", 20.0, key="b")
    assert refused.value.retry_after == 100.0
    assert hub.own("t").head == 1


def test_the_ring_longest_without_a_publish_gives_way_first() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=1000))
    for name in ("old", "young"):
        for _ in range(3):
            hub.publish(name, b'"%b"' % (b"x" * 60), 0.0)
    hub.publish("new", b'"%b"' % (b"x" * 200), 0.0)
    assert (hub.own("old").first, hub.own("young").first) == (3, 1)
    assert hub.rings.pool.used <= 1000 + 400
    assert hub.rings.pool.used == sum(topic.size for topic in hub.topics.values())


def test_a_publish_is_refused_when_only_newest_messages_are_left() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=500))
    for number in range(3):
        hub.publish(f"t{number}", b'"%b"' % (b"x" * 60), 0.0)
    with pytest.raises(Overloaded, match="limit rings_size"):
        hub.publish("t9", b'"%b"' % (b"x" * 300), 0.0)


def test_a_topic_exists_until_it_has_no_reader_and_its_ring_has_aged_out() -> None:
    hub = make_hub(Turns())
    reader = FakeReader(hub.own("t"))
    hub.attach(reader, "newest")
    hub.publish("t", b"1", 0.0)
    hub.sweep(1000.0)
    assert hub.topics["t"].first == 2
    reader.detach()
    hub.sweep(1000.0)
    assert hub.topics == {}
    assert hub.rings.pool.used == 0


def test_a_topic_too_many_is_refused() -> None:
    hub = make_hub(Turns(), HubLimits(topics=1))
    hub.own("a")
    with pytest.raises(LimitReached, match="limit topics: this client has 1, its share of 1"):
        hub.own("b")


def test_who_makes_many_topics_is_refused_and_others_are_not() -> None:
    hub = make_hub(Turns(), HubLimits(topics=1000))
    for number in range(500):
        hub.publish(f"greedy/{number}", b"1", 0.0, owner=Owner("sub greedy"))
    with pytest.raises(LimitReached, match="limit topics: this client has 500"):
        hub.publish("greedy/500", b"1", 0.0, owner=Owner("sub greedy"))
    with pytest.raises(LimitReached, match="limit topics: this client has 500"):
        hub.readable("greedy/500", Owner("sub greedy"))
    hub.publish("greedy/499", b"1", 0.0, owner=Owner("sub greedy"))
    for number in range(100):
        hub.publish(f"careful/{number}", b"1", 0.0, owner=Owner("sub careful"))
    hub.publish("greedy/1", b"1", 0.0, owner=Owner("sub careful"))
    assert (hub.owners.held(Owner("sub greedy")), hub.owners.held(Owner("sub careful"))) == (500, 100)
    hub.sweep(1000.0)
    assert (hub.owners.used, hub.topics) == (0, {})
    hub.publish("greedy/500", b"1", 1000.0, owner=Owner("sub greedy"))


def test_room_for_many_topics_is_checked_before_the_first() -> None:
    hub = make_hub(Turns(), HubLimits(topics=20))
    hub.publish("known", b"1", 0.0, owner=Owner("a"))
    hub.check_room(["known", *(f"t{number}" for number in range(9))] * 2, 10, Owner("a"))
    with pytest.raises(LimitReached, match="limit topics: this client has 1,"):
        hub.check_room([f"t{number}" for number in range(20)], 10, Owner("a"))
    assert list(hub.topics) == ["known"]


def test_an_unknown_topic_is_not_found() -> None:
    with pytest.raises(NotFound, match="nothing"):
        make_hub(Turns()).find("nothing", SERVICE)


def test_readers_of_an_ended_topic_get_all_of_it_and_are_finished() -> None:
    turns = Turns()
    hub = make_hub(turns)
    topic = hub.log("batch:1")
    early, late = FakeReader(topic), FakeReader(topic)
    hub.attach(early, "oldest")
    hub.append(topic, b"1", 0.0)
    turns.settle()
    hub.append(topic, b"2", 0.0)
    hub.finish(topic)
    hub.attach(late, "oldest")
    turns.settle()
    assert early.complete
    assert late.complete
    assert late.sent == [b"1\n2\n"]
    again = FakeReader(topic)
    hub.attach(again, Position(topic.epoch, 2))
    assert again.complete
    assert topic.readers == {}


def test_a_source_learns_that_its_last_reader_has_left() -> None:
    hub = make_hub(Turns())
    topic, left = hub.log("batch:1"), []
    topic.on_idle = lambda: left.append(1)
    readers = [FakeReader(topic), FakeReader(topic)]
    for reader in readers:
        hub.attach(reader, "oldest")
    readers[0].detach()
    assert left == []
    readers[1].detach()
    readers[1].detach()
    assert left == [1]


def test_dropping_a_topic_evicts_its_readers_and_frees_its_bytes() -> None:
    turns = Turns()
    hub = make_hub(turns)
    topic = hub.log("batch:1")
    reader = FakeReader(topic)
    hub.attach(reader, "oldest")
    hub.append(topic, b"1", 0.0)
    hub.drop(topic)
    turns.settle()
    assert reader.evicted
    assert hub.log_bytes == 0
    hub.drop(topic)
    assert hub.log_bytes == 0


def test_statistics_count_what_is_there() -> None:
    hub = make_hub(Turns())
    hub.attach(FakeReader(hub.own("t"), OnLag.LATEST), "newest")
    hub.publish("t", b"1", 0.0)
    statistics = hub.statistics()
    assert (statistics.topics, statistics.readers, statistics.published) == (1, 1, 1)


def test_a_sweep_looks_at_some_topics_and_goes_on_where_it_was() -> None:
    hub = make_hub(Turns())
    for number in range(10):
        hub.publish(f"t{number}", b"1", 0.0)
    hub.sweep(400.0, 4)
    assert len(hub.topics) == 6
    hub.publish("t0", b"again", 400.0)  # made anew while the round goes on
    hub.sweep(400.0, 4)
    hub.sweep(400.0, 4)
    assert list(hub.topics) == ["t0"]
    assert hub.rings.pool.used == hub.topics["t0"].size
    hub.sweep(800.0, 4)
    assert hub.topics == {}
    assert hub.rings.pool.used == 0


def test_the_same_key_of_another_owner_publishes() -> None:
    hub = make_hub(Turns())
    first = hub.publish("t", b"1", 0.0, key="order-17", owner=Owner("sub a"))
    assert hub.publish("t", b"2", 1.0, key="order-17", owner=Owner("sub b")).offset == first.offset + 1
    assert hub.publish("t", b"1", 2.0, key="order-17", owner=Owner("sub a")) == first


def test_a_log_gives_up_its_oldest_as_far_as_it_may_and_has_to() -> None:
    hub = make_hub(Turns())
    log = hub.log("l")
    for _ in range(4):
        hub.append(log, b"1", 0.0)
    before = hub.log_bytes
    assert before == log.size > 0
    freed = hub.give_up(log, 3, 1)
    assert (log.first, hub.log_bytes) == (2, before - freed)
    hub.give_up(log, 3, before)
    assert log.first == 4, "not beyond what it may"
    assert hub.give_up(log, 3, before) == 0


def test_room_for_topics_that_exist_is_not_asked_for_again() -> None:
    hub = make_hub(Turns(), HubLimits(topics=3))
    for name in "tu":
        hub.publish(name, b"1", 0.0, owner=A)
    hub.check_room(["t", "u"], 1, A)
    with pytest.raises(LimitReached):
        hub.check_room(["t", "u", "v"], 1, A)


def test_one_message_to_many_topics_has_its_place_in_each() -> None:
    hub = make_hub(Turns())
    hub.publish("t", b"1", 0.0, owner=A)
    assert hub.publish_all(["t", "u"], b"2", 0.0, Owner("b")) == [Position("e1", 2), Position("e2", 1)]
    assert [hub.topics[name].payer for name in "tu"] == [A, Owner("b")]


def test_what_is_published_in_slices_is_reserved_and_reaches_topics_that_were_forgotten_meanwhile() -> None:
    hub = make_hub(Turns(), HubLimits(topics=6))
    for name in "tuv":
        hub.ring(name, owner=A)
    hub.reserve("tuv", 100, A)
    assert hub.rings.pool.held(A) == 300
    assert hub.append_reserved("tu", b"x" * 100, 0.0, A) == [Position("e1", 1), Position("e2", 1)]
    taken = hub.topics["t"].size + hub.topics["u"].size
    assert hub.rings.pool.held(A) == taken + 100
    hub.retire(hub.topics["v"])
    for name in "wx":
        hub.ring(name, owner=Owner("b"))
    assert hub.owners.room(A) < 1
    [position] = hub.append_reserved("v", b"x" * 100, 0.0, A)
    assert hub.topics["v"].position == position
    assert hub.rings.pool.held(A) == taken + hub.topics["v"].size
    hub.reserve("tu", 100, A)
    hub.release_reserved("tu", 100, A)
    assert hub.rings.pool.held(A) == taken + hub.topics["v"].size


def test_what_is_reserved_for_a_publish_has_no_room_for_another() -> None:
    hub = make_hub(Turns(), HubLimits(ring_bytes=1000))
    hub.reserve("tu", 300, A)
    with pytest.raises(Overloaded):
        hub.reserve("vw", 300, A)


def test_a_sweep_leaves_logs_and_what_was_dropped_meanwhile_alone() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(age=1.0)))
    log = hub.log("l")
    for name in "tu":
        hub.publish(name, b"1", 0.0)
    hub.sweep(0.0, most=1)
    hub.drop(hub.topics["u"])
    hub.sweep(5.0)
    turns.settle()  # raises what was contained
    assert hub.topics == {"l": log}
    assert hub.rings.pool.used == 0


def test_a_topic_is_dropped_once() -> None:
    hub = make_hub(Turns())
    topic = hub.own("t")
    hub.drop(topic)
    again = hub.own("t")
    hub.drop(topic)
    hub.retire(topic)
    assert hub.topics == {"t": again}
    assert hub.owners.used == 1


def test_a_topic_without_readers_counts_and_has_delivered_nothing() -> None:
    hub = make_hub(Turns())
    hub.publish("t", b"1", 0.0)
    statistics = hub.statistics()
    assert (statistics.topics, statistics.readers, statistics.delivered) == (1, 0, 0)


def test_a_reader_of_an_ended_topic_is_finished_only_when_it_has_had_all() -> None:
    turns = Turns()
    hub = make_hub(turns)
    log = hub.log("l")
    slow, quick = FakeReader(log), FakeReader(log)
    for reader in (slow, quick):
        hub.attach(reader, "oldest")
    slow.stuck = True
    hub.append(log, b"1", 0.0)
    turns.settle()
    hub.finish(log)
    assert (slow.complete, quick.complete) == (False, True)
    slow.stuck = False
    slow.visit()
    assert slow.complete


def test_a_reader_that_is_behind_when_its_topic_is_concluded_gets_the_last_message() -> None:
    turns = Turns()
    hub = make_hub(turns)
    log = hub.log("l")
    reader = FakeReader(log)
    reader.stuck = True
    hub.attach(reader, "oldest")
    for number in range(3):
        hub.append(log, b"%d" % number, 0.0)
    turns.settle()
    hub.finish(log)
    hub.conclude(log, b"last")
    hub.conclude(log, b"again")
    assert hub.topics == {}
    turns.settle()
    reader.stuck = False
    reader.visit()
    assert (reader.evicted, reader.complete) == (False, True)
    gap, last = b"".join(reader.sent).splitlines()
    assert orjson.loads(gap) == {"event": "gap", "from": 1, "to": 2}
    assert last == b"last"


def test_a_source_opens_its_topics_when_somebody_reads_them() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(topics=2))
    stored = [b'"1"', b'"2"']

    def read(after: int) -> Pending[Sequence[bytes | None]]:
        answer: Pending[Sequence[bytes | None]] = Pending()
        answer.settle(stored[after:])
        return answer

    def opener(name: str, owner: Owner) -> Topic:
        return hub.adopt(name, KeptTopic(Position("e", 2), read=read), owner)

    hub.openers["job"] = opener
    topic = hub.find("job:a", Owner("a"))
    assert isinstance(topic, Topic)
    assert hub.find("job:a", Owner("b")) is topic
    reader = FakeReader(topic)
    hub.attach(reader, "oldest")
    hub.add_stored(topic, b'"3"')
    turns.settle()
    assert b"".join(reader.sent).split() == [b'"1"', b'"2"', b'"3"']
    with pytest.raises(LimitReached, match="topics"):
        hub.find("job:b", Owner("a"))
    hub.release(topic)
    assert reader.evicted
    assert (hub.topics, hub.log_bytes, hub.owners.used) == ({}, 0, 0)
