"""Owners that get no place: their URLs fail when their time is over, and as many at once as would have been under way."""

from dataclasses import replace
from math import inf

import pytest

from service.core.fetching import lock_outs
from service.core.fetching.batch import BatchLimits
from service.core.fetching.outcome import Permit
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

B = Owner("b")


def full(places: int = 3) -> tuple[Planned, list[FetchTask]]:
    """Return a plan whose places others have, each one."""
    planned = Planned(replace(BatchLimits(), active=places, active_per_host=99))
    for number in range(places):
        planned.add(batch_of(hosts(1), name=f"o{number}", owner=f"o{number}"))
    return planned, planned.start()


def until(planned: Planned, end: float, begin: float = 0.0) -> float:
    """Ask the plan whenever it wants to be, until a URL fails; return when."""
    now, before = begin, len(planned.rejected)
    while now < end and len(planned.rejected) == before:
        assert planned.start(now) == []
        assert now < planned.plan.wake_at() <= now + 1 or planned.plan.wake_at() > end
        now = planned.plan.wake_at()
    return now


def test_a_newcomer_that_gets_no_place_fails_in_time_and_says_why() -> None:
    planned, _ = full()
    planned.add(batch_of(hosts(2), owner="b", timeout=5.0))
    until(planned, 100.0)
    assert 5.0 <= planned.plan.wake_at() <= 5.5
    [(_, failure), _] = planned.rejected
    assert (failure.kind, failure.detail) == (
        "timeout", "timed out before its turn: limit upstream: other clients have all 3 places",
    )  # fmt: skip


def test_as_many_fail_as_would_have_been_under_way_and_the_next_have_their_own_time() -> None:
    planned, [first, *_] = full()
    planned.add(batch_of(hosts(90), owner="b", timeout=5.0, concurrency=40))
    until(planned, 100.0)
    assert sorted(index for index, _ in planned.rejected) == [*range(40)]
    assert 10.0 <= until(planned, 100.0, 5.0) <= 11.5
    assert len(planned.rejected) == 80
    planned.plan.free(first)
    planned.plan.landed(first)
    [task] = planned.start(11.0)
    assert (task.index, task.deadline) == (80, 16.0)


def test_a_network_that_has_its_share_is_named() -> None:
    planned = Planned(replace(BatchLimits(), active=10, active_per_host=99))
    for number in range(10):
        name = Owner(f"8.8.8.{number}", network="8.8.8.0/24")
        planned.add(replace(batch_of(hosts(1), name=name, timeout=2.0), owner=name))
    assert len(planned.start()) == 9
    until(planned, 10.0)
    [(_, failure)] = planned.rejected
    assert failure.detail.endswith("limit upstream: the clients of 8.8.8.0/24 have their share of 10")


def test_one_that_has_a_place_waits_for_its_own() -> None:
    planned, [first, *_] = full()
    planned.add(batch_of(hosts(9), owner="b", timeout=2.0))
    planned.start(0.0)
    planned.plan.free(first)
    planned.plan.landed(first)
    [task] = planned.start(1.9)
    planned.add(batch_of(hosts(1), name="o0", owner="o0", timeout=100.0))
    until(planned, 50.0, 1.9)
    assert planned.rejected == []
    planned.plan.free(task)
    planned.plan.landed(task)
    planned.plan.shares.resize(2)
    planned.start(50.0)
    assert 52.0 <= until(planned, 100.0, 50.3) <= 53.0, "its time begins anew when it has none any more"


def test_the_time_in_which_a_group_is_held_back_or_paused_does_not_count() -> None:
    planned, _ = full()
    batch = batch_of(hosts(9), owner="b", timeout=2.0)
    planned.add(batch)
    planned.plan.shares.resize(4)
    planned.admit = lambda batch: Permit.HOLD
    planned.start(0.0)
    planned.plan.shares.resize(3)
    planned.admit = lambda batch: Permit.START
    planned.start(1.0)
    planned.plan.wake(batch)
    planned.plan.shares.pause(B)
    for now in (2.0, 3.0, 9.0):
        planned.start(now)
    planned.plan.resume(B)
    planned.start(9.5)
    assert planned.rejected == []
    assert 11.5 <= until(planned, 100.0, 9.75) <= 12.5


def test_as_many_as_are_looked_through_in_one_go_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_outs, "_LOOKS", 10)
    planned, _ = full()
    for number in range(10):
        planned.add(batch_of(hosts(1), name=f"w{number}", owner=f"w{number}", timeout=2.0))
    planned.start(0.25)
    until(planned, 3.0, 0.25)
    assert len(planned.rejected) == 10


def test_nobody_is_looked_for_again_until_something_changes() -> None:
    planned, _ = full()
    planned.start(1.0)
    assert planned.plan.wake_at() == inf
    planned.add(batch_of(hosts(1), owner="late", timeout=2.0))
    planned.start(1.1)
    assert planned.plan.wake_at() == 1.25
    planned.start(1.25)
    assert planned.plan.wake_at() == 1.5


def test_thousands_are_looked_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_outs, "_LOOKS", 10)
    planned, [first, *_] = full()
    gone = batch_of(hosts(1), name="gone", owner="gone", timeout=2.0)
    for number in range(25):
        planned.add(batch_of(hosts(1), name=f"w{number}", owner=f"w{number % 7}", timeout=2.0))
    planned.add(gone)
    assert planned.start(0.0) == []
    assert planned.start(0.25) == []
    assert planned.plan.wake_at() == 0.251
    planned.plan.remove(gone)
    assert repr(planned.plan._lock_outs) == "<LockOuts, next look at 0.251>"
    now = 0.251
    while len(planned.rejected) < 10:
        assert planned.start(now) == []
        now = planned.plan.wake_at()
    planned.plan.free(first)
    planned.plan.landed(first)
    [task] = planned.start(now - 0.001)
    while len(planned.rejected) < 20 and now < 4.0:
        assert planned.start(now) == []
        now = planned.plan.wake_at()
    assert now < 2.9
    assert len([index for index, _ in planned.rejected]) >= 20
    assert task.group.owner not in {"o1", "o2"}
