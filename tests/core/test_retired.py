"""A topic outlives its last reader and message, within a time and a bound."""

import pytest

from service.core.errors import LimitReached, NotFound
from service.core.owner import Owner
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.retired import RetiredTopics
from service.core.topics.topic import Position, RingLimits
from tests.core.readers import FakeReader, Turns, make_hub

A, B = Owner("a"), Owner("b")


def publish(hub: Hub, data: bytes) -> Position:
    position = hub.publish("t", data, 0.0)
    assert isinstance(position, Position)
    return position


def test_the_longest_idle_goes_first_and_each_after_its_time() -> None:
    retired = RetiredTopics(2, 60.0)
    for at, name in enumerate("abca"):
        retired.keep(name, Position(f"e{at}", at), A, float(at))
    assert ["a" in retired, "b" in retired, "c" in retired] == [True, False, True]
    retired.expire(62.5)
    assert len(retired) == 1
    assert retired.pop("a") == Position("e3", 3)
    assert retired.pop("a") is None


def test_many_of_one_age_are_forgotten_in_several_steps() -> None:
    retired = RetiredTopics(10_000, 60.0)
    for number in range(2500):
        retired.keep(str(number), Position("e", 1), A, 0.0)
    left = []
    for _ in range(4):
        retired.expire(61.0)
        left.append(len(retired))
    assert (left, retired.pool.used) == ([1500, 500, 0, 0], 0)


def test_it_reports_what_it_forgets_for_size_or_age_and_not_what_it_gives_back() -> None:
    forgotten: list[str] = []
    retired = RetiredTopics(1, 60.0, forgotten=forgotten.append)
    retired.keep("a", Position("e", 1), A, 0.0)
    retired.keep("b", Position("e", 1), A, 1.0)
    assert forgotten == ["a"]
    retired.pop("b")
    retired.keep("c", Position("e", 1), A, 2.0)
    retired.expire(63.0)
    assert forgotten == ["a", "c"]


@pytest.mark.parametrize("read", [True, False])
def test_who_comes_back_within_a_minute_goes_on(read: bool) -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(age=1.0)))
    position = publish(hub, b"1")
    if read:
        reader = FakeReader(hub.own("t"))
        hub.attach(reader, "newest")
        reader.detach()
    for turns.now in (3.0, 20.0, 50.0):
        hub.sweep(turns.now)
        assert "t" not in hub.topics
    start = hub.attach(FakeReader(hub.own("t")), position)
    assert (start.position, start.recovered) == (position, True)
    assert hub.publish("t", b"2", turns.now) == Position(position.epoch, 2)


def test_where_it_stood_can_be_asked_and_is_forgotten_in_time() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(age=1.0)))
    before = hub.publish("t", b"1", 0.0)
    turns.now = 3.0
    hub.sweep(turns.now)
    topic = hub.find("t", B)
    assert (topic.epoch, topic.head, topic.first) == (before.epoch, 1, 2)
    for turns.now in (4.0, 65.0):
        hub.sweep(turns.now)
    with pytest.raises(NotFound):
        hub.find("t", B)
    assert hub.publish("t", b"1", turns.now).epoch != before.epoch


def test_one_that_is_asked_for_counts_for_the_owner_that_asks() -> None:
    """Else a client makes topics, lets them retire, asks for them, and has its whole share once more."""
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(age=1.0), topics=8))
    for name in "abcd":
        hub.publish(name, b"1", 0.0, owner=A)
    turns.now = 3.0
    hub.sweep(turns.now)
    assert hub.owners.held(A) == 0
    for name in "abcd":
        hub.find(name, B)
    assert (hub.owners.held(B), hub.owners.used) == (4, 4)
    hub.publish("e", b"1", turns.now, owner=A)
    hub.publish("f", b"1", turns.now, owner=A)
    with pytest.raises(LimitReached, match="limit topics"):
        hub.publish("g", b"1", turns.now, owner=A)


def test_one_that_is_behind_gets_the_gap() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(ring=RingLimits(age=1.0)))
    first = publish(hub, b"1")
    hub.publish("t", b"2", 0.0)
    turns.now = 3.0
    hub.sweep(turns.now)
    start = hub.attach(FakeReader(hub.own("t")), first)
    assert (start.position, start.recovered) == (first, False)


def test_who_leaves_many_topics_forgets_its_own_alone() -> None:
    retired = RetiredTopics(100, 60.0)
    greedy, careful = Owner("greedy"), Owner("careful")
    for number in range(5):
        retired.keep(f"careful/{number}", Position("e", 0), careful, 0.0)
    for number in range(1000):
        retired.keep(f"greedy/{number}", Position("e", 0), greedy, 1.0)
    assert all(f"careful/{number}" in retired for number in range(5))
    assert "greedy/999" in retired
    assert "greedy/0" not in retired
    assert retired.pool.held(greedy) <= 76
    assert retired.pool.refused > 900
    retired.expire(100.0)
    assert (len(retired), retired.pool.used, retired._names) == (0, 0, {})
