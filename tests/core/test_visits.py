"""The states of a visit: the table in the module's text is what the code does."""

import re

import pytest

from service.core.topics import visits
from service.core.topics.hub import HubLimits
from service.core.topics.topic import Reader
from service.core.topics.visits import Visit, VisitState
from tests.core.readers import FakeReader, Turns, make_hub

ROW = re.compile(r"^ {4}([A-Z_]+) +\| ([A-Z_]+) +\|(?: (\w+))?$", re.MULTILINE)


def table() -> dict[str, tuple[str, str]]:
    assert visits.__doc__ is not None
    return {state: (woken, through) for state, woken, through in ROW.findall(visits.__doc__)}


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
def test_what_the_table_says_of_the_end_of_a_round(state: VisitState) -> None:
    one, expected = in_state(state), table()[state.name][1]
    hub = make_hub(Turns())
    readers: list[Reader] = [FakeReader(hub.own("t"))]
    if not expected:
        with pytest.raises(KeyError):
            one.next_round(5, readers)
        return
    again = one.next_round(5, readers)
    assert (one.state.name, again, list(one.readers)) == (
        expected,
        expected == "UNDER_WAY",
        readers if again else [],
    )
    assert (one.head_before, one.head) == ((3, 5) if again else (3, 3))


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
