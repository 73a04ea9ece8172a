"""The subscribers of a topic: each delivery becomes one latency from its intended time."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.audience import NEVER, Audience
from loadtest.histogram import Histogram
from loadtest.sequences import Sequence, first_of
from loadtest.tally import Tally


def latencies(tally: Tally, name: str = "delivery") -> Histogram:
    return Histogram.decode(tally.flush()["latencies"][name])


def test_joined_messages_have_each_their_own_intended_time() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    members = [audience.join(number, 1) for number in range(10)]
    for offset in range(1, 4):
        audience.published(offset, offset * 0.1)
    for member in members:
        member.took(1, 3, 1.0)
    audience.flush()
    found = latencies(tally)
    assert found.count == 30
    assert [found.percentile(at) for at in (0, 50, 100)] == pytest.approx([700, 800, 900], rel=0.01)
    assert audience.complete


def test_a_message_that_comes_before_its_publish_is_known_waits_for_it() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    audience.join(0, 1).took(1, 1, 1.0)
    audience.flush()
    assert "delivery" not in tally.flush()["latencies"]
    audience.published(1, 0.5)
    audience.flush()
    assert latencies(tally).percentile(50) == pytest.approx(500, rel=0.01)


def test_the_warm_up_and_what_has_no_time_are_delivered_and_not_measured() -> None:
    tally = Tally()
    tally.measured_from = 10.0
    audience = Audience("t", tally)
    member = audience.join(0, 1)
    audience.published(1, 9.9)
    audience.published(2, 10.0)
    audience.ignore(3)
    member.took(1, 3, 11.0)
    audience.flush()
    assert tally.counters["delivered"] == 3
    assert latencies(tally).count == 1
    assert audience.due[3] == NEVER
    assert [arrival[0] for arrival in audience.arrivals()] == [1, 2]


def test_an_arrival_is_first_last_and_how_many() -> None:
    audience = Audience("t", Tally())
    audience.published(1, 0.0)
    for number, at in enumerate((3.0, 1.0, 2.0)):
        audience.join(number, 1).took(1, 1, at)
    audience.flush()
    assert audience.arrivals() == [(1, 0.0, 1.0, 3.0, 3)]


def test_what_others_publish_is_counted_apart() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    audience.join(0, 1).took(1, 1, 1.0)
    audience.close()
    assert tally.counters["of_others"] == 1


def test_what_was_meant_for_others_is_misrouted_and_hides_no_loss() -> None:
    tally = Tally()
    mine, other = (Audience(Sequence(index, f"t{index}"), tally) for index in (1, 2))
    member = mine.join(0, 1)
    for number in (1, 2):
        mine.published(first_of(1) + number, 0.0)
        other.published(first_of(2) + number, 0.0)
    member.took(first_of(1) + 1, 1, 1.0)
    member.took(first_of(2) + 2, 1, 1.0)
    assert not mine.complete
    mine.close()
    assert (tally.checks["lost"], tally.counters["misrouted"], tally.counters["delivered"]) == (1, 1, 1)
    assert tally.places == [("lost", "t1", 2, 2, 1)]


def test_a_message_whose_sequence_is_not_known_is_taken_as_ones_own() -> None:
    audience = Audience(Sequence(1, "t"), Tally())
    member = audience.join(0, 1)
    audience.published(first_of(1) + 1, 0.0)
    member.took(1, 1, 1.0)
    assert audience.complete


def test_a_run_that_was_interrupted_has_nothing_lost() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    audience.join(0, 1)
    audience.published(1, 0.0)
    audience.close(settled=False)
    assert tally.checks == Counter()


@given(delays=st.lists(st.floats(0.0, 0.1), min_size=10, max_size=50))
def test_the_delay_of_a_client_is_the_mean_of_its_messages(delays: list[float]) -> None:
    audience = Audience("t", Tally())
    members = [audience.join(number, 1) for number in range(len(delays))]
    for offset in (1, 2, 3):
        audience.published(offset, float(offset))
        for member, delay in zip(members, delays, strict=True):
            member.took(offset, 1, offset + delay)
    assert dict(audience.delays()) == pytest.approx(dict(enumerate(delays)), abs=1e-9)
