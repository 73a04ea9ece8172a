"""Shares of a pool: what each owner may take beside the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import LimitReached, Overloaded
from service.core.owner import Owner
from service.core.pool import Pool, PoolStatistics, share_used

A, B, C = Owner("a"), Owner("b"), Owner("c")


def fill(pool: Pool, owner: Owner) -> int:
    """Have an owner take all that it may, byte by byte."""
    while pool.room(owner) > 0:
        pool.charge(owner, 1)
    return pool.held(owner)


def test_one_owner_gets_half_and_a_second_one_finds_room() -> None:
    pool = Pool("p", 1200)
    assert fill(pool, A) == pool.share(A) == 600
    assert fill(pool, B) == 300


def test_in_an_eager_pool_one_owner_gets_nearly_all_and_others_find_room() -> None:
    pool = Pool("p", 1000, eager=9)
    assert fill(pool, A) == pool.share(A) == 900
    assert fill(pool, B) > 80
    assert fill(pool, C) > 0


def test_owners_that_give_back_meet_at_equal_shares() -> None:
    pool = Pool("p", 1200)
    owners = (A, B, C)
    for _ in range(600):
        for owner in owners:
            if pool.room(owner) > 0:
                pool.charge(owner, 10)
            elif pool.held(owner) > pool.share(owner):
                pool.release(owner, 10)
    assert all(abs(pool.held(owner) - 300) <= 20 for owner in owners)


@pytest.mark.parametrize(("weight", "gets"), [(0.1, 109), (0.5, 400), (1.0, 600), (2.0, 800)])
def test_an_owner_with_a_weight_gets_so_many_times_what_is_free(weight: float, gets: int) -> None:
    pool = Pool("p", 1200)
    heavy = Owner("heavy", weight)
    assert abs(fill(pool, heavy) - gets) <= 1
    assert abs(pool.share(heavy) - 600 * weight) <= 1


def test_an_owner_that_holds_nothing_has_room_in_a_pool_that_is_more_than_full() -> None:
    for bound in (0, 1, 100, 1 << 20):
        pool = Pool("p", bound)
        pool.charge(A, 3 * bound + 7)
        assert pool.room(A) <= 0
        assert pool.room(B) > 0


@given(bound=st.integers(0, 10_000), owners=st.integers(1, 60))
def test_owners_that_keep_all_they_can_get_stay_below_twice_the_bound(bound: int, owners: int) -> None:
    pool = Pool("p", bound)
    for number in range(owners):
        while (room := pool.room(owner := Owner(str(number)))) > 0:
            pool.charge(owner, room)
    assert pool.used <= 1.65 * bound + owners


@given(bound=st.integers(0, 1000), eager=st.integers(1, 30), weights=st.lists(st.floats(0.01, 100), max_size=60))
def test_a_strict_pool_never_overflows(bound: int, eager: int, weights: list[float]) -> None:
    pool = Pool("p", bound, eager=eager, strict=True)
    for number, weight in enumerate(weights):
        fill(pool, Owner(str(number), weight))
    assert pool.used <= bound


@given(spare=st.integers(1, 20), times=st.integers(1, 100))
def test_in_a_strict_pool_one_owner_leaves_what_is_to_spare(spare: int, times: int) -> None:
    pool = Pool("p", spare * times + spare, eager=times, strict=True)
    assert fill(pool, A) == spare * times
    assert fill(pool, B) > 0


def test_what_is_given_back_was_taken() -> None:
    pool = Pool("p", 10)
    pool.charge(A, 3)
    with pytest.raises(ValueError, match="'a' releases more"):
        pool.release(A, 4)
    pool.release(A, 3)
    assert (pool.used, pool.held(A), pool.largest()) == (0, 0, None)


def test_a_refusal_names_the_pool_and_the_share_and_is_counted() -> None:
    pool = Pool("things", 10, advice="take fewer")
    pool.check(A, 5)
    pool.charge(A, 5)
    with pytest.raises(LimitReached) as refused:
        pool.check(A)
    assert refused.value.detail == "limit things: this client has 5, its share of 10; take fewer"
    assert refused.value.data() == {"reason": "limit", "temporary": True, "retry_after": 1.0, "pool": "things"}
    pool.check(B)
    full = Pool("places", 1, strict=True, error=Overloaded)
    full.charge(A, 1)
    with pytest.raises(Overloaded, match="^limit places: all 1 are in use$"):
        full.check(B)
    assert (pool.refused, full.refused) == (1, 1)


def test_what_is_taken_at_once_fits_into_the_share_too() -> None:
    for eager, most in ((1, 600), (4, 960)):
        pool = Pool("p", 1200, eager=eager)
        assert pool.fits(A, 5000), "it holds nothing"
        pool.charge(A, 1)
        assert pool.fits(A, most - 1)
        assert not pool.fits(A, most)


def test_statistics_are_a_snapshot() -> None:
    pool = Pool("p", 10)
    pool.charge(A, 3)
    pool.charge(B, 5)
    assert pool.largest() == B
    assert pool.statistics() == PoolStatistics(bound=10, used=8, owners=2, largest=5, refused=0)


def test_nothing_taken_makes_nobody_an_owner() -> None:
    pool = Pool("p", 10)
    pool.charge(A, 0)
    pool.release(A, 0)
    assert (pool.used, pool.statistics().owners) == (0, 0)


def test_the_part_of_a_pool_that_is_in_use() -> None:
    pool = Pool("p", 1000)
    pool.charge(A, 250)
    assert share_used(pool.statistics()) == 0.25
    assert share_used(Pool("none", 0).statistics()) == 0.0
