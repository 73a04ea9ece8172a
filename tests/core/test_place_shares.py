"""Places upstream: what one owner and one network leave to others, and who gets what comes free."""

from collections.abc import Iterable
from dataclasses import replace

from service.core.fetching.batch import BatchLimits
from service.core.fetching.place_shares import OwnerState, Shares
from service.core.owner import Owner
from tests.core.test_plan import Planned, batch_of, hosts

FLOCK = [Owner(f"8.8.8.{number}", network="8.8.8.0/24") for number in range(256)]
ALONE = Owner("ann")


def shares_of(places: int, names: Iterable[Owner], most: int = 1000) -> tuple[Shares, dict[Owner, OwnerState]]:
    states = {name: OwnerState(name, most) for name in names}
    return Shares(places, most, states), states


def fill(shares: Shares, *owners: OwnerState) -> int:
    """Have owners take places in turns until each has its share; return how many they have."""
    before = shares.used
    while free := [owner for owner in owners if not shares.used_up(owner)]:
        if shares.used == shares.places:
            break
        shares.acquire(free[0])
    return shares.used - before


def test_the_addresses_of_one_network_have_what_one_owner_has_and_the_next_one_finds_places() -> None:
    shares, states = shares_of(100, [*FLOCK, ALONE])
    for name in FLOCK:
        if not shares.used_up(states[name]):
            shares.acquire(states[name])
    assert shares.used == 90
    assert all(shares.used_up(states[name]) for name in FLOCK)
    assert fill(shares, states[ALONE]) == 9, "as beside one owner"


def test_one_address_leaves_some_to_others_of_its_network() -> None:
    shares, states = shares_of(500, [*FLOCK, ALONE])
    assert fill(shares, states[FLOCK[0]]) == 446 == shares.calm + 1
    assert fill(shares, states[FLOCK[1]], states[FLOCK[2]]) == 4
    assert fill(shares, states[ALONE]) == 45


def test_owners_with_credentials_have_no_network() -> None:
    shares, states = shares_of(100, [Owner(f"sub {number}") for number in range(100)])
    for state in states.values():
        assert not shares.used_up(state)
        shares.acquire(state)
    assert shares.used == 100


def test_a_network_that_gives_places_back_may_have_them_again() -> None:
    shares, states = shares_of(10, FLOCK[:2])
    first, second = states.values()
    assert fill(shares, first) == 9
    assert shares.used_up(second)
    shares.release(first)
    assert not shares.used_up(second)
    for _ in range(8):
        shares.release(first)
    assert (shares.used, shares._networks) == (0, {})


def test_thousands_of_one_network_that_wait_are_as_one_before_the_others() -> None:
    shares, states = shares_of(1000, [*FLOCK, ALONE, Owner("bob")])
    for name in FLOCK:
        shares.hold_back(states[name])
    shares.hold_back(states[ALONE])
    shares.hold_back(states[ALONE])
    del states[FLOCK[0]], states[FLOCK[2]]
    found = [shares.pop_held_back() for _ in range(3)]
    assert [state.name for state in found if state] == [ALONE, FLOCK[1], FLOCK[3]]
    assert repr(shares) == "<Shares 0 of 1000, 252 held back>"
    shares.resize(0)
    states[FLOCK[4]].active = 1
    states[FLOCK[4]].share = 0
    assert (shares.statistics().refused, shares.pop_held_back()) == (257, states[FLOCK[5]])


def test_one_owner_leaves_some_to_others_of_the_few_places_of_an_overloaded_service_too() -> None:
    planned = Planned(replace(BatchLimits(), active=500, active_per_host=500, active_per_client=450))
    planned.plan.shares.resize(50)
    planned.add(batch_of(hosts(500, 50), name="a", owner="a", concurrency=500))
    assert len(planned.start()) == 45
    planned.add(batch_of(hosts(9), name="b", owner="b"))
    assert len(planned.start()) == 5
    planned.plan.shares.resize(500)
    assert len(planned.start()) == 401, "what was held back goes on"
    assert planned.plan.shares.used == 451


def test_one_of_a_network_that_has_its_share_waits_until_another_of_it_gives_one_back() -> None:
    planned = Planned(replace(BatchLimits(), active=10, active_per_host=500))
    started = []
    for name in FLOCK[:12]:
        planned.add(replace(batch_of(hosts(1), name=name), owner=name))
        started += planned.start()
    assert len(started) == 9
    planned.add(batch_of(hosts(1), owner="ann"))
    [task] = planned.start()
    assert task.group.owner == ALONE
    planned.plan.free(started[0])
    planned.plan.landed(started[0])
    assert [task.group.owner for task in planned.start()] == [FLOCK[9]]


def test_one_whose_share_is_used_up_again_when_it_is_its_turn_is_held_back_again() -> None:
    planned = Planned(replace(BatchLimits(), active=10, active_per_host=500))
    planned.add(batch_of(hosts(9), owner="ann"))
    assert len(planned.start()) == 9
    shares, state = planned.plan.shares, planned.plan.owners.states[ALONE]
    state.blocked["http://h0.example:80"] = None
    planned.plan.parking.look_again(state)
    assert [*planned.plan.parking.pop_reopened(shares.holds_back, lambda *given: True, 0.0)] == []
    assert (shares.pop_held_back(), [*shares.held_back]) == (None, ["ann"])
