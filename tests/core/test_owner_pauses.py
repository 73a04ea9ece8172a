"""A host that asks one owner for less while it answers others is left alone by that owner only."""

import pytest

from service.core.fetching import owner_pauses
from service.core.fetching.owner_pauses import OwnerPauses
from service.core.owner import Owner

A, B, C = Owner("a"), Owner("b"), Owner("c")


def test_a_failure_at_a_host_that_answered_nobody_is_of_the_host() -> None:
    assert not OwnerPauses().refused("h", A, 0.0)


def test_a_failure_while_another_owner_is_answered_is_of_the_owner() -> None:
    pauses = OwnerPauses()
    pauses.answered("h", A, 0.0)
    assert pauses.refused("h", B, 59.9)
    assert not pauses.refused("h", B, 60.0), "the answer is too old to count"


def test_both_of_the_last_two_owners_count_for_each_other() -> None:
    pauses = OwnerPauses()
    pauses.answered("h", A, 0.0)
    pauses.answered("h", B, 1.0)
    pauses.answered("h", B, 2.0)
    assert pauses.refused("h", B, 3.0), "the host answers the one before"
    assert not pauses.refused("h", A, 3.0), "both fail now: it is the host's own wish"
    assert not pauses.refused("h", C, 3.0)


def test_an_owner_is_not_another_owner_for_itself() -> None:
    pauses = OwnerPauses()
    pauses.answered("h", A, 0.0)
    assert not pauses.refused("h", A, 1.0)


def test_a_pause_is_only_made_longer_and_ends() -> None:
    pauses = OwnerPauses()
    pauses.pause("h", A, 5.0, 0.0)
    pauses.pause("h", A, 3.0, 0.0)
    assert pauses.until("h", A, 4.9) == 5.0
    assert pauses.until("h", B, 4.9) == 0.0
    assert pauses.until("h", A, 5.0) == 0.0


def test_pauses_that_are_over_are_forgotten_when_another_begins() -> None:
    pauses = OwnerPauses()
    pauses.pause("h", A, 5.0, 0.0)
    pauses.pause("h", B, 9.0, 5.0)
    assert repr(pauses) == "<OwnerPauses 1 at 0 hosts>"
    assert pauses.until("h", B, 5.0) == 9.0


def test_the_oldest_is_forgotten_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_pauses, "_MOST", 2)
    pauses = OwnerPauses()
    for number in range(3):
        pauses.answered(f"h{number}", A, 0.0)
        pauses.pause(f"h{number}", A, 9.0, 0.0)
    assert not pauses.refused("h0", B, 1.0)
    assert pauses.refused("h2", B, 1.0)
    assert pauses.until("h0", A, 1.0) == 0.0
    assert pauses.until("h2", A, 1.0) == 9.0
