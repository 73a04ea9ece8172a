"""A reader that falls behind meets its declared policy, and every missed offset is in a gap."""

import pytest

from service.core.topics.hub import Hub, HubLimits
from service.core.topics.topic import OnLag, Position, Reader, RingLimits, Topic
from service.core.topics.wire import Encoding
from tests.core.readers import FakeReader, Turns, make_hub


def small_hub() -> tuple[Hub, Turns]:
    turns = Turns()
    return make_hub(turns, HubLimits(ring=RingLimits(messages=5))), turns


def publish(hub: Hub, turns: Turns, count: int) -> None:
    for _ in range(count):
        hub.publish("t", b"%d" % (hub.own("t").head + 1), 0.0)
        turns.settle()


@pytest.mark.parametrize(
    ("on_lag", "lines"),
    [
        (OnLag.DROP_OLDEST, ['{"event":"gap","from":1,"to":3}', "4", "5", "6", "7", "8"]),
        (OnLag.LATEST, ['{"event":"gap","from":1,"to":7}', "8"]),
    ],
)
def test_a_lagging_reader_that_stays_gets_a_gap(on_lag: OnLag, lines: list[str]) -> None:
    hub, turns = small_hub()
    reader = FakeReader(hub.own("t"), on_lag)
    hub.attach(reader, "newest")
    reader.stuck = True
    publish(hub, turns, 8)
    reader.stuck = False
    reader.visit()
    assert reader.lines == lines
    assert not reader.evicted
    missed = 8 - sum("gap" not in line for line in lines)
    assert (hub.lags.gaps, hub.lags.missed, hub.lags.evicted) == ({on_lag: 1}, {on_lag: missed}, 0)


def test_a_reader_is_evicted_as_soon_as_the_ring_has_moved_past_it() -> None:
    hub, turns = small_hub()
    reader = FakeReader(hub.own("t"))
    hub.attach(reader, "newest")
    reader.stuck = True
    publish(hub, turns, 5)
    assert not reader.evicted
    publish(hub, turns, 1)
    assert reader.evicted
    assert hub.lags.evicted == 1
    assert not reader.attached
    assert hub.own("t").readers == {}


def test_a_large_message_is_read_in_parts_and_counts_as_read() -> None:
    hub, turns = small_hub()
    topic = hub.own("t")
    reader, taken = FakeReader(topic), list[int]()
    topic.on_taken = lambda: taken.append(reader.offset)
    hub.attach(reader, "newest")
    reader.stuck = True
    data = b'"%b"' % (b"x" * 100_000)
    hub.publish("t", data, 0.0)
    hub.publish("t", b"2", 0.0)
    turns.settle()

    parts = reader.read_large()

    assert b"".join(parts) == data + b"\n"
    assert isinstance(parts[0], memoryview)
    assert (reader.offset, topic.furthest, topic.delivered, taken) == (1, 1, 1, [1])
    assert reader.read() == b"2\n"


def test_a_reader_within_the_ring_never_lags() -> None:
    hub, turns = small_hub()
    reader = FakeReader(hub.own("t"))
    hub.attach(reader, "newest")
    reader.stuck = True
    publish(hub, turns, 5)
    reader.stuck = False
    reader.visit()
    assert reader.lines == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("on_lag", list(OnLag))
def test_what_was_gone_before_a_reader_came_is_a_gap_under_every_policy(on_lag: OnLag) -> None:
    hub, turns = small_hub()
    publish(hub, turns, 8)
    reader = FakeReader(hub.own("t"), on_lag)
    start = hub.attach(reader, Position("e1", 1))
    turns.settle()
    assert not start.recovered
    assert reader.lines == ['{"event":"gap","from":2,"to":3}', "4", "5", "6", "7", "8"]
    assert not reader.evicted


def test_a_reader_after_a_gap_is_evicted_when_it_lags_again() -> None:
    hub, turns = small_hub()
    publish(hub, turns, 8)
    reader = FakeReader(hub.own("t"))
    hub.attach(reader, Position("e1", 1))
    turns.settle()
    reader.stuck = True
    publish(hub, turns, 6)
    assert reader.evicted


def test_everything_gone_by_age_is_one_gap() -> None:
    hub, turns = small_hub()
    publish(hub, turns, 3)
    hub.attach(FakeReader(hub.own("t")), "newest")
    hub.sweep(10_000.0)
    reader = FakeReader(hub.own("t"), OnLag.LATEST)
    hub.attach(reader, Position("e1", 1))
    turns.settle()
    assert reader.lines == ['{"event":"gap","from":2,"to":3}']
    assert reader.position == Position("e1", 3)


def test_a_reader_that_takes_something_is_not_stalled_any_more() -> None:
    turns = Turns()
    hub = make_hub(turns)
    log = hub.log("l")
    taken: list[int] = []
    log.on_taken = lambda: taken.append(len(log.readers))
    reader = FakeReader(log)
    hub.attach(reader, "oldest")
    assert reader.read() == b""
    assert not reader.stalled
    reader.stalled_at = reader.progress
    assert reader.stalled
    hub.append(log, b"1", 0.0)
    turns.settle()
    assert not reader.stalled
    assert taken == [1]


def test_a_reader_leaves_once_and_its_source_hears_of_it_once() -> None:
    hub = make_hub(Turns())
    log = hub.log("l")
    heard: list[str] = []
    log.on_taken = lambda: heard.append("taken")
    log.on_idle = lambda: heard.append("idle")
    reader = FakeReader(log)
    hub.attach(reader, "oldest")
    reader.detach()
    reader.detach()
    assert heard == ["taken", "idle"]


def test_each_kind_of_reader_has_its_own_way_to_send_and_to_end() -> None:
    reader = Reader(Topic("t", "e", RingLimits()), Encoding.EVENTS, OnLag.DISCONNECT)
    for action in (reader.visit, reader.evict):
        with pytest.raises(NotImplementedError):
            action()
    reader.finished()
