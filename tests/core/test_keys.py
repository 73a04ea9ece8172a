"""Idempotency keys: remembered for their time, and never forgotten early."""

import pytest

from service.core.errors import LimitReached
from service.core.keys import KeyStore
from service.core.topic import Position


def test_a_key_is_known_for_its_time() -> None:
    keys = KeyStore(10, 120.0)
    keys.put(("t", "k"), Position("e", 1), 0.0)
    assert keys.get(("t", "k"), 120.0) == Position("e", 1)
    assert keys.get(("u", "k"), 0.0) is None
    assert keys.get(("t", "k"), 120.1) is None
    assert len(keys) == 0


def test_a_full_store_refuses_rather_than_forgets() -> None:
    keys = KeyStore(2, 120.0)
    keys.put(("t", "a"), Position("e", 1), 0.0)
    keys.put(("t", "b"), Position("e", 2), 10.0)
    with pytest.raises(LimitReached) as refused:
        keys.put(("t", "c"), Position("e", 3), 20.0)
    assert refused.value.retry_after == 100.0
    assert keys.get(("t", "a"), 20.0) == Position("e", 1)
