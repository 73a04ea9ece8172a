"""Idempotency keys: remembered for their time, never forgotten early, and each owner's its own."""

import pytest

from service.core.errors import LimitReached, StorageFailed
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.idempotency import KeyStore
from service.core.topics.topic import Position

A = Owner("a")


def publish(keys: KeyStore, owner: str, key: str, offset: int, now: float) -> None:
    """Use a key as the hub does."""
    keys.check(Owner(owner), now)
    keys.put(Owner(owner), ("t", key), Position("e", offset), now)


def test_a_key_is_known_for_its_time() -> None:
    keys = KeyStore(10, 120.0)
    publish(keys, "a", "k", 1, 0.0)
    assert keys.get(Owner("a"), ("t", "k"), 120.0) == Position("e", 1)
    assert keys.get(Owner("a"), ("u", "k"), 0.0) is None
    assert keys.get(Owner("a"), ("t", "k"), 120.1) is None
    assert len(keys) == 0
    assert keys.pool.statistics().owners == 0


def test_a_key_belongs_to_its_owner() -> None:
    keys = KeyStore(10, 120.0)
    publish(keys, "a", "order-17", 1, 0.0)
    assert keys.get(Owner("b"), ("t", "order-17"), 1.0) is None
    publish(keys, "b", "order-17", 2, 1.0)
    assert keys.get(Owner("a"), ("t", "order-17"), 1.0) == Position("e", 1)
    keys.expire(120.5)
    assert keys.get(Owner("a"), ("t", "order-17"), 120.5) is None
    assert keys.get(Owner("b"), ("t", "order-17"), 120.5) == Position("e", 2)


def test_a_full_store_refuses_rather_than_forgets() -> None:
    keys = KeyStore(4, 120.0)
    publish(keys, "a", "a", 1, 0.0)
    publish(keys, "a", "b", 2, 10.0)
    with pytest.raises(LimitReached, match="limit keys: this client has 2") as refused:
        publish(keys, "a", "c", 3, 20.0)
    assert refused.value.retry_after == 100.0
    assert keys.get(Owner("a"), ("t", "a"), 20.0) == Position("e", 1)


def test_who_fills_the_store_is_refused_and_others_are_not() -> None:
    keys = KeyStore(1000, 120.0)
    for number in range(500):
        publish(keys, "greedy", str(number), number, 0.0)
    with pytest.raises(LimitReached):
        publish(keys, "greedy", "500", 500, 0.0)
    for number in range(100):
        publish(keys, "careful", str(number), number, 60.0)
    assert (len(keys), keys.pool.held(Owner("greedy")), keys.pool.held(Owner("careful"))) == (600, 500, 100)
    assert keys.get(Owner("greedy"), ("t", "0"), 120.1) is None
    publish(keys, "greedy", "late", 1, 120.1)
    assert len(keys) == 101


def test_a_key_whose_publish_failed_is_new_and_its_second_publish_has_a_time_of_its_own() -> None:
    keys = KeyStore(10, 120.0)
    pending: Pending[Position] = Pending()
    keys.put(A, ("t", "k"), pending, 0.0)
    pending.settle(StorageFailed("the disk is full"))
    assert keys.get(A, ("t", "k"), 1.0) is None
    publish(keys, "a", "k", 1, 50.0)
    publish(keys, "a", "m", 2, 50.0)
    assert keys.get(A, ("t", "k"), 130.0) == Position("e", 1)
    assert keys.get(A, ("t", "k"), 170.1) is None
    assert len(keys) == 0


def test_many_keys_of_one_age_are_forgotten_in_several_steps_and_none_is_known_any_more() -> None:
    keys = KeyStore(20_000, 120.0)
    for number in range(5000):
        publish(keys, "a", str(number), number, 0.0)
    keys.expire(121.0)
    assert 0 < len(keys) < 5000
    assert keys.get(A, ("t", "4999"), 121.0) is None
    publish(keys, "a", "4999", 1, 121.0)
    assert keys.get(A, ("t", "4999"), 122.0) == Position("e", 1)
    for _ in range(3):
        keys.expire(122.0)
    assert (len(keys), keys.pool.held(A)) == (1, 1)
