"""Whose place a request has whose asker has left: that of the first who waits for it too, and may have one more."""

from dataclasses import replace

from service.core.fetching.batch import BatchLimits
from service.core.fetching.heirs import pass_on
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

HOST = "http://h0.example:80"


def under_way(*owners: str, most: int = 450) -> tuple[Planned, list[FetchTask]]:
    """Return requests of owners, of which all but the first have joined that one, and have no place."""
    planned = Planned(replace(BatchLimits(), active_per_host=20, hosts_shared=True, active_per_client=most))
    tasks = []
    for number, owner in enumerate(owners):
        planned.add(batch_of(hosts(3), name=f"{owner}{number}", owner=owner, concurrency=1))
        [task] = planned.start()
        if number:
            planned.plan.free(task)
        tasks.append(task)
    return planned, tasks


def places(planned: Planned) -> dict[str, int]:
    return {str(name): state.active for name, state in planned.plan.owners.states.items() if state.active}


def leave(planned: Planned, task: FetchTask) -> None:
    planned.plan.remove(task.group)


def test_the_next_one_that_waits_has_the_place() -> None:
    planned, [leader, heir, other] = under_way("a", "b", "c")
    leave(planned, leader)
    assert pass_on(planned.plan, planned.hosts, leader, [heir, other]) is heir
    assert (places(planned), leader.place, heir.place) == ({"b": 1}, "", HOST)
    assert planned.hosts._active_of == {HOST: {"b": 1}}
    assert "a" not in planned.plan.owners.states, "nothing is left of it"
    planned.plan.free(heir)
    assert (places(planned), planned.plan.active, planned.hosts._active_of) == ({}, 0, {})


def test_another_of_the_same_client_has_it_even_if_that_has_all_of_its_share() -> None:
    planned, [leader, heir] = under_way("a", "a", most=2)
    planned.plan.owners.states[Owner("a")].share = 0
    leave(planned, leader)
    assert pass_on(planned.plan, planned.hosts, leader, [heir]) is heir
    assert places(planned) == {"a": 1}


def test_who_has_all_of_its_share_or_of_the_host_s_inherits_nothing() -> None:
    planned, [leader, full, crowding, heir] = under_way("a", "full", "crowding", "b")
    planned.plan.owners.states[Owner("full")].share = 0
    for _ in range(15):
        planned.hosts.begin(HOST, Owner("crowding"))
    assert planned.hosts.used_up(HOST, Owner("crowding"))
    assert pass_on(planned.plan, planned.hosts, leader, [full, crowding]) is None
    assert (places(planned), leader.place, planned.plan.shares.used) == ({"a": 1}, HOST, 1)
    assert pass_on(planned.plan, planned.hosts, leader, [full, crowding, heir]) is heir


def test_what_waits_between_two_hosts_is_inherited_by_nobody() -> None:
    planned, [leader, heir] = under_way("a", "b")
    planned.hosts.end(HOST, leader.group.owner)
    leader.place = ""
    assert pass_on(planned.plan, planned.hosts, leader, [heir]) is None


def test_a_client_whose_place_was_passed_on_goes_on() -> None:
    planned, [leader, heir] = under_way("a", "b", most=1)
    planned.add(batch_of(hosts(1), name="more", owner="a"))
    assert planned.start() == [], "it has all of its share"
    planned.plan.landed(leader)
    assert pass_on(planned.plan, planned.hosts, leader, [heir]) is heir
    assert [task.group.owner for task in planned.start()] == ["a"]
