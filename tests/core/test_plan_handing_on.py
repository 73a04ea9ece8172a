"""Who may have the place of a URL that has landed as it is: the next of its group, where nobody else waits for it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service.core.fetching.outcome import Failure
from service.core.fetching.task import FetchTask, Turn
from service.core.owner import Owner
from tests.core.test_plan import LIMITS, Planned, batch_of, hosts, insist


def landing(planned: Planned) -> FetchTask:
    """Start what may start; return the first of it."""
    return planned.start()[0]


def hand_on(planned: Planned, ended: FetchTask, now: float = 0.0) -> FetchTask | None:
    """Have a URL land, and its successor start in its place where it has one."""
    turn = planned.plan.successor(ended, now)
    planned.plan.landed(ended)
    return planned.plan.hand_on(turn, ended, now) if turn is not None else None


def test_the_next_of_its_group_has_the_place_and_nobody_more_runs_than_before() -> None:
    planned = Planned()
    batch = batch_of(hosts(50), concurrency=20)
    planned.add(batch)
    landed = landing(planned)
    before = planned.plan.active, planned.plan.shares.used, batch.active
    task = hand_on(planned, landed, 3.0)
    assert task is not None
    assert (task.index, task.place, landed.place) == (20, "http://h0.example:80", "")
    assert (task.admitted, task.deadline) == (3.0, 13.0)
    assert (planned.plan.active, planned.plan.shares.used, batch.active) == (before[0], before[1], before[2])
    assert task in planned.plan.admitted.of(batch)
    planned.plan.free(task)
    planned.plan.landed(task)
    assert [work.index for work in planned.start(3.0)] == [21], "one place, and no second one"


def test_all_urls_of_a_batch_start_once_in_their_order() -> None:
    planned = Planned()
    planned.add(batch_of(hosts(100), concurrency=20))
    running = planned.start()
    order = [work.index for work in running]
    while running:
        first = running.pop(0)
        task = hand_on(planned, first)
        if task is None:
            planned.plan.free(first)
        running += [task] if task is not None else planned.start()
        order += [work.index for work in running[-1:] if work.index == len(order)]
    assert order == list(range(100))
    assert (planned.plan.active, planned.plan.shares.used) == (0, 0)


def slow_host(planned: Planned) -> None:
    insist(planned.hosts, 0.0, 5.0)


def fewer_places(planned: Planned) -> None:
    planned.plan.shares.resize(3)


def another_client(planned: Planned) -> None:
    planned.add(batch_of(["http://h9.example/"], name="c", owner="another"))


def another_batch(planned: Planned) -> None:
    planned.add(batch_of(["http://h9.example/"], name="c"))


def pause(planned: Planned) -> None:
    planned.plan.shares.pause(Owner("o"))


def retry(planned: Planned) -> None:
    [backlog] = planned.plan.owners.backlogs.values()
    other = planned.plan.admitted.of(backlog.group)[1]
    planned.plan.free(other)
    planned.plan.landed(other)
    planned.plan.retry(other, 0.0)


@pytest.mark.parametrize("change", [slow_host, fewer_places, another_client, another_batch, pause, retry])
def test_the_plan_chooses_where_anything_else_counts(change: Callable[[Planned], None]) -> None:
    planned = Planned()
    planned.add(batch_of(hosts(50), concurrency=20))
    landed = landing(planned)
    change(planned)
    assert hand_on(planned, landed) is None


@pytest.mark.parametrize("gone", [False, True])
def test_an_owner_that_is_paused_and_a_batch_that_is_gone_meanwhile_start_nothing(gone: bool) -> None:
    planned = Planned()
    batch = batch_of(hosts(50), concurrency=20)
    planned.add(batch)
    ended = landing(planned)
    turn = planned.plan.successor(ended, 0.0)
    assert turn is not None
    if gone:
        planned.plan.remove(batch)
    else:
        pause(planned)
    assert planned.plan.hand_on(turn, ended, 0.0) is None
    assert ended.place, "it is freed by its holder"


def test_a_url_of_another_host_does_not_have_the_place() -> None:
    planned = Planned()
    planned.add(batch_of([*hosts(20), "http://other.example/", *hosts(3)], concurrency=20))
    assert hand_on(planned, landing(planned)) is None


def test_one_who_waits_at_the_host_has_the_place() -> None:
    planned = Planned(replace(LIMITS, active_per_host=2))
    planned.add(batch_of(hosts(50), concurrency=5))
    landed = landing(planned)
    assert planned.plan.parking.hosts
    assert hand_on(planned, landed) is None


def test_a_batch_at_its_share_or_gone_hands_on_nothing() -> None:
    planned = Planned(replace(LIMITS, active=10, active_per_client=10))
    batch = batch_of(hosts(50, 5), concurrency=10)
    planned.add(batch)
    landed = landing(planned)
    assert hand_on(planned, landed) is None, "it leaves some of all places to others"
    planned.plan.remove(batch)
    assert hand_on(planned, landed) is None


def test_an_owner_of_less_weight_is_always_asked_for_its_share() -> None:
    planned = Planned()
    batch = batch_of(hosts(50), concurrency=20)
    batch.owner = Owner("o", 0.5)
    planned.add(batch)
    assert hand_on(planned, landing(planned)) is None


def test_what_is_rejected_comes_first() -> None:
    planned = Planned()
    planned.add(batch_of([*hosts(20), *(["nothing"] * 30)], concurrency=20))
    landed = landing(planned)
    planned.plan.free(landed)
    planned.plan.landed(landed)
    turn = planned.plan.next(0.0)
    assert isinstance(turn, Turn)
    assert planned.plan.start(turn, 0.0) is None
    assert planned.plan.successor(landed, 0.0) is None
    planned.start()
    assert {failure.kind for _, failure in planned.rejected} == {"invalid_url"}
    assert isinstance(planned.rejected[0][1], Failure)
