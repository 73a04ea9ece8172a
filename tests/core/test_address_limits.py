"""What one address may have, that others keep theirs, and that all of it is forgotten."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.access.address_limits import AddressLimiter, AddressLimits
from service.core.errors import LimitReached, RateExceeded


def test_connections_of_an_address_are_bounded_and_of_another_are_not() -> None:
    addresses = AddressLimiter(AddressLimits(connections=2))
    addresses.enter("a")
    addresses.check("a")
    addresses.enter("a")
    with pytest.raises(LimitReached, match="connections of an address: 2"):
        addresses.check("a")
    addresses.check("b")
    addresses.leave("a")
    addresses.check("a")


def test_handshakes_and_requests_are_two_rates() -> None:
    addresses = AddressLimiter(AddressLimits(handshakes=1.0, handshakes_burst=2, requests=1.0, requests_burst=1))
    addresses.handshake("a", 0.0)
    addresses.handshake("a", 0.0)
    with pytest.raises(RateExceeded) as refused:
        addresses.handshake("a", 0.0)
    assert refused.value.retry_after == 1.0
    addresses.request("a", 0.0)
    with pytest.raises(RateExceeded):
        addresses.request("a", 0.0)
    addresses.handshake("b", 0.0)
    addresses.handshake("a", 1.0)


def test_a_client_that_floods_again_and_again_waits_for_the_next_connection() -> None:
    addresses, now, floods = (
        AddressLimiter(AddressLimits(handshakes=10.0, handshakes_burst=100, flood=50.0)),
        0.0,
        0,
    )
    while now < 100.0:
        try:
            addresses.handshake("a", now)
        except RateExceeded as error:
            now += (error.retry_after or 0.0) + 0.001
        else:
            addresses.flooded("a", now)
            floods += 1
    assert 20 <= floods <= 24
    addresses.handshake("b", now)


def test_an_idle_limit_is_forgotten() -> None:
    addresses = AddressLimiter(AddressLimits(handshakes=1.0, handshakes_burst=10))
    for number in range(100):
        addresses.handshake(f"a{number}", number * 0.1)
    assert addresses.remembered == 100
    addresses.sweep(5.0)
    assert 50 <= addresses.remembered < 100
    addresses.sweep(11.0)
    assert addresses.remembered == 0
    assert "0 connected" in repr(addresses)


def test_more_addresses_than_are_remembered_forget_the_oldest() -> None:
    addresses = AddressLimiter(AddressLimits(handshakes=1.0, handshakes_burst=1, remembered=10))
    for number in range(1000):
        addresses.handshake(f"a{number}", 0.0)
    assert addresses.remembered == 10
    with pytest.raises(RateExceeded):
        addresses.handshake("a999", 0.0)
    addresses.handshake("a0", 0.0)


@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=100))
def test_a_client_that_leaves_gives_back_what_it_took(steps: list[tuple[bool, str]]) -> None:
    addresses, held = AddressLimiter(AddressLimits(connections=3)), Counter[str]()
    for enters, address in steps:
        if not enters and held[address]:
            addresses.leave(address)
            held[address] -= 1
        elif enters:
            try:
                addresses.check(address)
            except LimitReached:
                assert held[address] == 3
            else:
                addresses.enter(address)
                held[address] += 1
    for address, count in held.items():
        for _ in range(count):
            addresses.leave(address)
    assert "0 connected" in repr(addresses)
