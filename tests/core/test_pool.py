"""Shares of a pool: what each owner may take, whoever else is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.pool import Pool, PoolStatistics


def fill(pool: Pool, owner: str) -> int:
    """Have an owner take all that it may, byte by byte."""
    while pool.room(owner) > 0:
        pool.take(owner, 1)
    return pool.held(owner)


def test_one_owner_gets_half_and_a_second_one_finds_room() -> None:
    pool = Pool(1200)
    assert fill(pool, "a") == pool.share("a") == 600
    assert fill(pool, "b") == 300


def test_owners_that_give_back_meet_at_equal_shares() -> None:
    pool = Pool(1200)
    owners = ("a", "b", "c")
    for _ in range(600):
        for owner in owners:
            if pool.room(owner) > 0:
                pool.take(owner, 10)
            elif pool.held(owner) > pool.share(owner):
                pool.give_back(owner, 10)
    assert all(abs(pool.held(owner) - 300) <= 20 for owner in owners)


def test_an_owner_that_holds_nothing_has_room_in_a_pool_that_is_more_than_full() -> None:
    for bound in (0, 1, 100, 1 << 20):
        pool = Pool(bound)
        pool.take("a", 3 * bound + 7)
        assert pool.room("a") <= 0
        assert pool.room("b") > 0


@given(bound=st.integers(0, 10_000), owners=st.integers(1, 60))
def test_owners_that_keep_all_they_can_get_stay_below_twice_the_bound(bound: int, owners: int) -> None:
    pool = Pool(bound)
    for number in range(owners):
        while pool.room(number) > 0:
            pool.take(number, pool.room(number))
    assert pool.used <= 1.65 * bound + owners


def test_what_is_given_back_was_taken() -> None:
    pool = Pool(10)
    pool.take("a", 3)
    with pytest.raises(ValueError, match="'a' gives back more"):
        pool.give_back("a", 4)
    pool.give_back("a", 3)
    assert (pool.used, pool.held("a"), pool.largest()) == (0, 0, None)


def test_statistics_are_a_snapshot() -> None:
    pool = Pool(10)
    pool.take("a", 3)
    pool.take("b", 5)
    assert pool.largest() == "b"
    assert pool.statistics() == PoolStatistics(bound=10, used=8, owners=2, largest=5)
