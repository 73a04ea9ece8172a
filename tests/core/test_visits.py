"""The states of a visit: the table in the module's text is what the code does."""

import re

import pytest

from service.core.topics import visits
from service.core.topics.hub import HubLimits
from service.core.topics.topic import Reader
from service.core.topics.visits import Visit, VisitState
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
