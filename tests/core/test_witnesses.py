"""What one owner meets at a host says nothing of the host; what two meet does, unless others are answered."""

import pytest

from service.core.fetching import witnesses
from service.core.fetching.witnesses import Witnesses, longest_pause
from service.core.owner import Owner

A, B, C = Owner("a"), Owner("b"), Owner("c")


def test_what_one_owner_meets_says_nothing_of_the_host() -> None:
    some = Witnesses()
    assert not any(some.refused("h", A, float(now)) for now in range(100))


def test_what_two_owners_meet_is_the_host_s_doing() -> None:
    some = Witnesses()
    some.refused("h", A, 0.0)
    assert some.refused("h", B, 59.9)
    assert some.refused("h", A, 60.0), "each confirms the other"
    assert not some.refused("other", B, 60.0)


def test_a_refusal_of_long_ago_confirms_nothing() -> None:
    some = Witnesses()
    some.refused("h", A, 0.0)
    assert not some.refused("h", B, 60.0)


def test_a_good_answer_takes_back_what_its_owner_confirms() -> None:
    some = Witnesses()
    some.refused("h", A, 0.0)
    some.answered("h", A, 1.0)
    assert not some.refused("h", B, 2.0)


def test_an_owner_that_is_answered_speaks_for_the_host() -> None:
    some = Witnesses()
    some.answered("h", C, 0.0)
    some.refused("h", A, 1.0)
    assert not some.refused("h", B, 2.0)
    assert some.refused("h", B, 60.0), "the answer is too old to count"


def test_both_of_the_last_two_owners_count_for_each_other() -> None:
    some = Witnesses()
    some.answered("h", A, 0.0)
    some.answered("h", B, 1.0)
    some.answered("h", B, 2.0)
    assert not some.refused("h", B, 3.0), "the host answers the one before"
    assert some.refused("h", A, 3.0), "both fail now"
    assert some.refused("h", C, 3.0)


def test_an_answer_counts_for_a_minute_from_the_last_second_in_which_it_came() -> None:
    some = Witnesses()
    for now in (0.0, 0.9, 1.0, 1.9):
        some.answered("h", C, now)
    some.refused("h", A, 60.9)
    assert not some.refused("h", B, 60.9)
    assert some.refused("h", B, 61.0)
    some.answered("h", B, 61.5)
    assert not some.refused("h", A, 61.5), "at once, where the last one was refused"


def test_two_in_league_cannot_have_the_answer_of_a_third_forgotten() -> None:
    some = Witnesses()
    some.answered("h", C, 0.0)
    for _ in range(100):
        for owner in (A, B):
            some.answered("h", owner, 1.0)
    assert not [owner for owner in (A, B) if some.refused("h", owner, 2.0)]
    assert some.refused("h", C, 2.0) == 3


def test_the_addresses_of_one_network_are_one_witness() -> None:
    some = Witnesses()
    flock = [Owner(f"8.8.8.{number}", network="8.8.8.0/24") for number in range(20)]
    assert not any(some.refused("h", owner, 0.0) for owner in flock)
    some.answered("h", C, 1.0)
    for owner in flock:
        some.answered("h", owner, 1.0)
    assert not any(some.refused("h", owner, 2.0) for owner in flock), "an answer outweighs all of them"
    some.refused("h", C, 3.0)
    assert some.refused("h", A, 3.0) == 3


def test_as_many_witnesses_as_are_kept_suffice_for_any_pause() -> None:
    some = Witnesses()
    counts = [some.refused("h", Owner(f"o{number}"), 0.0) for number in range(20)]
    assert counts == [0, *range(2, 17), *[16] * 4]
    assert [longest_pause(count) for count in (0, 2, 3, 16)] == [0.0, 2.0, 4.5, 128.0]


def test_a_host_that_is_asked_is_not_the_one_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "_MOST", 2)
    some = Witnesses()
    some.answered("h", C, 0.0)
    some.answered("old", C, 0.0)
    some.answered("h", C, 1.0)
    some.answered("new", A, 1.0)
    some.refused("h", A, 1.0)
    assert not some.refused("h", B, 1.0)
    some.refused("old", A, 1.0)
    assert some.refused("old", B, 1.0)


def test_the_oldest_hosts_are_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "_MOST", 2)
    some = Witnesses()
    for number in range(3):
        some.refused(f"h{number}", A, 0.0)
    assert repr(some) == "<Witnesses of 2 hosts>"
    assert not some.refused("h0", B, 1.0)
    assert some.refused("h2", B, 1.0)
