"""Troubles with their size and place; and none where there is none."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtest.audience import BEATS, Arrival
from loadtest.findings import late_clients, places, stalls


def broadcast(seconds: float, rate: float, begin: float, end: float) -> tuple[list[Arrival], list[int]]:
    """Return what a server gives that delivers nothing from ``begin`` to ``end``: all of it in one go then."""
    arrivals = []
    for number in range(round(seconds * rate)):
        due = number / rate
        at = end if begin <= due < end else due + 0.002
        arrivals.append((number + 1, due, at, at + 0.01, 10))
    return arrivals, sorted({int(moment * BEATS) for arrival in arrivals for moment in arrival[2:4]})


def test_a_stall_has_its_length_and_its_time() -> None:
    (found,) = stalls(*broadcast(10, 100, 5.0, 6.0), began=0.0)
    assert (found.kind, round(found.size / 100)) == ("stalled", 10)
    assert "from second 5.0 on" in found.text


def test_a_pause_in_the_schedule_is_not_a_stall() -> None:
    arrivals, beats = broadcast(10, 1, 0.0, 0.0)
    assert stalls(arrivals, beats, 0.0) == []


@given(at=st.floats(0.5, 8.0), length=st.floats(0.6, 1.5))
def test_any_stall_of_a_steady_stream_is_found(at: float, length: float) -> None:
    (found,) = stalls(*broadcast(10, 50, at, at + length), began=0.0)
    assert abs(found.size - length * 1000) < 60


def test_the_last_hundredth_that_is_late_is_found_with_its_numbers() -> None:
    chance = random.Random(1)
    delays = [(number, chance.uniform(0.01, 0.05) + (0.2 if number >= 990 else 0.0)) for number in range(1000)]
    (found,) = late_clients(delays)
    assert (found.kind, found.clients, round(found.size / 20)) == ("late", 10, 10)
    assert "990 to 999" in found.text


def test_who_comes_last_in_a_row_is_not_late() -> None:
    assert late_clients([(number, number * 0.0002) for number in range(1000)]) == []
    assert late_clients([(number, 0.01 + 0.4 * (number % 5 == 0)) for number in range(1000)]) == []
    assert late_clients([(0, 9.0)]) == []


def test_places_say_what_and_for_how_many_the_largest_first() -> None:
    found = Counter({("lost", "t", 7, 7): 3, ("lost", "t", 10, 19): 2, ("repeated", "t", 5, 5): 1_000})
    assert [(one.kind, one.text, one.size, one.clients) for one in places(found)] == [
        ("lost", "lost: messages 10 to 19 of t, for 2 clients", 10, 2),
        ("lost", "lost: message 7 of t, for 3 clients", 1, 3),
        ("repeated", "repeated: message 5 of t, for 1,000 clients", 1, 1_000),
    ]


def test_a_thousand_places_are_twenty_lines_and_one() -> None:
    found = places(Counter({("lost", "t", number * 2, number * 2): 1 for number in range(1000)}))
    assert len(found) == 21
    assert found[-1].text == "lost at 980 more places"
