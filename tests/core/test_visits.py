"""The states of a visit: the table in the module's text is what the code does."""

import re

import pytest

from service.core.owner import Owner
from service.core.topics import visits
from service.core.topics.hub import HubLimits
from service.core.topics.topic import Reader
from service.core.topics.visits import _TURN, Visit, VisitState
from tests.core.readers import FakeReader, Turns, make_hub

ROW = re.compile(r"^ {4}([A-Z_]+) +\| ([A-Z_]+) +\|(?: +| (\w+) +)\|(?: (\w+))?$", re.MULTILINE)


def table() -> dict[str, tuple[str, str, str]]:
    assert visits.__doc__ is not None
    return {state: (woken, begun, through) for state, woken, begun, through in ROW.findall(visits.__doc__)}


def in_state(state: VisitState) -> Visit:
    one = Visit(3)
    one.state = state
    return one


def test_the_table_has_every_state() -> None:
    assert set(table()) == {state.name for state in VisitState}


@pytest.mark.parametrize("state", list(VisitState))
def test_what_the_table_says_of_news(state: VisitState) -> None:
    one = in_state(state)
    assert one.wake() is (state is VisitState.IDLE)
    assert one.state.name == table()[state.name][0]


@pytest.mark.parametrize("state", list(VisitState))
def test_what_the_table_says_of_the_begin_of_a_round(state: VisitState) -> None:
    one, expected = in_state(state), table()[state.name][1]
    readers: list[Reader] = [FakeReader(make_hub(Turns()).own("t"))]
    if not expected:
        with pytest.raises(KeyError):
            one.begin(5, readers)
        return
    one.began = 2.0
    one.begin(5, readers)
    assert (one.state.name, list(one.readers), one.began) == (expected, readers, 0.0)
    assert (one.head_before, one.head) == (3, 5)


@pytest.mark.parametrize("state", list(VisitState))
def test_what_the_table_says_of_the_end_of_a_round(state: VisitState) -> None:
    one, expected = in_state(state), table()[state.name][2]
    if not expected:
        with pytest.raises(KeyError):
            one.end()
        return
    assert one.end() is (expected == "SCHEDULED")
    assert (one.state.name, list(one.readers)) == (expected, [])
    assert (one.head_before, one.head) == (3, 3)


def test_there_is_news_from_scheduled_on() -> None:
    assert [state for state in VisitState if state >= VisitState.SCHEDULED] == [
        VisitState.SCHEDULED,
        VisitState.AGAIN,
    ]
    assert repr(in_state(VisitState.AGAIN)) == "<Visit AGAIN at 3>"


def test_a_hub_is_visiting_many_until_all_readers_have_had_what_is_new() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=2))
    topic = hub.own("t")
    for _ in range(5):
        hub.attach(FakeReader(topic), "newest")
    assert not hub.is_visiting_many()
    hub.publish("t", b"1", 0.0)
    visiting = []
    while turns.due:
        visiting.append(hub.is_visiting_many())
        turns.turn()
    assert (visiting, hub.is_visiting_many()) == ([False, True, True], False)


def test_a_slice_goes_on_between_two_looks_at_the_clock_and_ends_at_its_number() -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=20))
    readers = [FakeReader(hub.own("t")) for _ in range(50)]
    for reader in readers:
        hub.attach(reader, "newest")
    hub.publish("t", b"1", 0.0)
    had = []
    while turns.turn():
        had.append(sum(not reader.behind for reader in readers))
    assert had == [20, 40, 50]


def test_a_slice_that_cannot_be_counted_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    turns.now = 1.0
    hub = make_hub(turns)
    readers = [FakeReader(hub.own("t")) for _ in range(2)]
    for reader in readers:
        hub.attach(reader, "newest")

    def fail(*_: object) -> None:
        raise RuntimeError("no count")

    monkeypatch.setattr(hub.latency, "slice", fail)
    hub.publish("t", b"1", 0.0)
    turns.turn()
    with pytest.raises(RuntimeError, match="no count"):
        turns.settle()  # where a loop logs it
    assert [reader.lines for reader in readers] == [["1"], ["1"]]
    assert sum(hub.latency.spread.counts) == 1


class Noted(FakeReader):
    """Notes the topic of each visit."""

    order: list[str]

    def visit(self) -> None:
        self.order.append(self.topic.name)
        super().visit()


def visited(crowd: dict[str, int], readers_of_one: int) -> list[str]:
    """Return whose readers were visited when all of one client's topics had news before another client's topic."""
    turns, order = Turns(), list[str]()
    hub = make_hub(turns)
    for name, count in {**crowd, "one": readers_of_one}.items():
        for _ in range(count):
            reader = Noted(hub.own(name, owner=Owner("crowd" if name in crowd else "other")))
            reader.order = order
            hub.attach(reader, "newest")
    for name in crowd:
        hub.publish(name, b"1", 0.0, owner=Owner("crowd"))
    hub.publish("one", b"1", 0.0, owner=Owner("other"))
    turns.settle()
    assert len(order) == sum(crowd.values()) + readers_of_one, "each has its message, once"
    return order


def test_a_topic_does_not_wait_for_all_topics_of_another_client() -> None:
    order = visited({f"t{number}": 8 for number in range(100)}, 1)
    assert order.index("one") <= _TURN


def test_a_topic_does_not_wait_for_all_readers_of_another_client() -> None:
    order = visited({"large": 1000}, 200)
    assert order.index("one") <= _TURN
    # Then both go on, readers of each by turns.
    assert order.index("large", order.index("one")) <= 2 * _TURN
    last = len(order) - 1 - order[::-1].index("one")
    assert last <= 200 + 4 * _TURN
