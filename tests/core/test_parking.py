"""URLs that wait for a place: in turns of owners, until their deadlines, some at a time."""

from math import inf

import pytest

from service.core.fetching import parking as module
from service.core.fetching.parking import Parking
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Target
from service.core.fetching.task import ENDED, OFFERED, PARKED, FetchTask
from service.core.owner import Owner
from tests.core.test_plan import batch_of

HOST = "http://h.example:80"
TARGET = Target("http://h.example/", "http", "h.example", 80, HOST, "/")


def parked(parking: Parking, *, owner: str = "o", deadline: float = 10.0) -> FetchTask:
    task = FetchTask(batch_of([TARGET.url], owner=owner), 0, FetchRequest(TARGET.url), TARGET, None)
    task.deadline = deadline
    task.move(PARKED)
    parking.add(task)
    return task


def end(parking: Parking, task: FetchTask) -> None:
    task.move(ENDED)
    parking.left(task)


def hopeless(parking: Parking, until: float, *, origin: str = HOST, now: float = 0.0) -> list[FetchTask]:
    """Have a pause begin, and return whom it leaves no time."""
    parking.shut(origin, until)
    return [task for task, _ in parking.pop_hopeless(origin, now)]


def test_owners_take_turns_at_a_host_and_one_that_may_not_is_passed_over() -> None:
    parking = Parking()
    first, second = parked(parking, owner="a"), parked(parking, owner="b")
    third = parked(parking, owner="a")
    assert parking.pop_first(HOST, 0.0, lambda owner, *_: owner == "b") is second
    assert parking.pop_first(HOST, 0.0, lambda *_: True) is first
    assert parking.pop_first(HOST, 0.0, lambda *_: False) is None
    assert parking.at(HOST) == [third]
    assert parking.pop_first("http://other.example:80", 0.0, lambda *_: True) is None
    assert parking.at("http://other.example:80") == []


def test_those_whose_deadline_has_come_are_named_once() -> None:
    parking = Parking()
    soon, later = parked(parking, deadline=1.0), parked(parking, deadline=2.0)
    parking.watch(soon)
    assert parking.next_deadline() == 1.0
    assert parking.pop_late(1.5) == [soon]
    assert parking.next_deadline() == 2.0
    assert parking.pop_late(2.0) == [later]


def test_deadlines_of_those_that_have_left_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALE", 2)
    parking = Parking()
    first = parked(parking, deadline=1.0)
    others = [parked(parking, deadline=9.0) for _ in range(20)]
    for task in others:
        end(parking, task)
    assert len(parking._deadlines) <= 2 * parking.waiting + 2
    assert parking.pop_late(1.0) == [first]


def test_one_that_has_left_is_not_late() -> None:
    parking = Parking()
    parked(parking, deadline=1.0)
    left = parked(parking, deadline=2.0)
    kept = parked(parking, deadline=3.0)
    end(parking, left)
    assert [task.deadline for task in parking.pop_late(5.0)] == [1.0, kept.deadline]


def test_a_pause_names_those_that_it_leaves_no_time_and_only_once() -> None:
    parking = Parking()
    short, offered, long = (
        parked(parking, deadline=5.0),
        parked(parking, deadline=5.0),
        parked(parking, deadline=50.0),
    )
    assert hopeless(parking, 9.0, origin="http://other.example:80") == []
    assert hopeless(parking, 9.0) == [short, offered]
    assert hopeless(parking, 9.0) == [], "the same pause"
    assert hopeless(parking, 8.0) == [], "a shorter one"
    end(parking, short)
    offered.move(OFFERED)
    assert hopeless(parking, 60.0) == [offered, long]


def test_a_pause_for_one_owner_names_the_urls_of_that_one() -> None:
    parking = Parking()
    mine, other = parked(parking, owner="a", deadline=5.0), parked(parking, owner="b", deadline=5.0)
    parking.shut(HOST, 60.0, mine.group.owner)
    parking.shut(HOST, 60.0, Owner("somebody else"))
    parking.shut("http://other.example:80", 60.0, mine.group.owner)
    assert parking.pop_hopeless(HOST, 0.0) == [(mine, 60.0)]
    end(parking, mine)
    assert hopeless(parking, 9.0) == [other]


def test_a_longer_pause_of_one_owner_is_not_forgotten_for_one_of_all() -> None:
    parking = Parking()
    mine, other = parked(parking, owner="a", deadline=20.0), parked(parking, owner="b", deadline=5.0)
    parking.shut(HOST, 60.0, mine.group.owner)
    parking.shut(HOST, 9.0)
    assert parking.pop_hopeless(HOST, 0.0) == [(mine, 60.0), (other, 9.0)]


def test_pauses_of_one_owner_that_grow_longer_are_looked_through_once() -> None:
    parking = Parking()
    mine, other = parked(parking, owner="a", deadline=20.0), parked(parking, owner="b", deadline=20.0)
    parking.shut(HOST, 10.0, other.group.owner)
    for until in range(11, 1000):
        parking.shut(HOST, float(until), mine.group.owner)
    assert parking.hosts[HOST].unseen == [(mine, 999.0), (other, 10.0)]
    parking.shut(HOST, 50.0, mine.group.owner)
    assert parking.pop_hopeless(HOST, 0.0) == [(mine, 999.0)]


def test_many_are_looked_through_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKS", 2 * (module._REJECTED + 1))
    parking = Parking()
    tasks = [parked(parking, deadline=5.0) for _ in range(5)]
    assert hopeless(parking, 9.0) == tasks[:2]
    again = parking.next_deadline()
    assert parking.pop_unfinished(0.0) == ()
    assert [*parking.pop_unfinished(again)] == [HOST]
    end(parking, tasks[2])
    tasks[3].place = HOST
    assert hopeless(parking, 9.0, now=again) == tasks[4:]
    assert parking.pop_unfinished(again) == ()


def test_a_pause_that_nobody_waits_for_any_more_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKS", 1)
    parking = Parking()
    tasks = [parked(parking, deadline=5.0) for _ in range(2)]
    assert hopeless(parking, 9.0) == tasks[:1]
    assert parking.next_deadline() < 1.0
    for task in tasks:
        end(parking, task)
    assert parking.next_deadline() == inf
