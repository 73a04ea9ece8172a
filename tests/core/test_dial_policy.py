"""The address rule, at the edges of each list."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.addresses import unwrapped
from service.core.fetching.dial_policy import Policy, is_public


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "168.63.129.15",
        "172.32.0.1",
        "2001:4860:4860::8888",
        "2606::1",
    ],
)
def test_a_public_address_is_allowed(text: str) -> None:
    assert Policy().allows(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "224.0.0.1", "168.63.129.16", "192.0.0.192", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
     "::7f00:1", "::ffff:0:7f00:1", "fec0::1", "ff02::1", "2002:7f00:1::", "64:ff9b:1::1", "4000::1", "fe80::1%1"],
)  # fmt: skip
def test_an_address_that_is_global_without_being_public_is_refused(text: str) -> None:
    assert not Policy().allows(ip_address(text))


def test_the_operators_nets_are_allowed_beside_public_addresses() -> None:
    policy = Policy(nets=(ip_network("127.0.0.0/8"),))
    assert policy.allows_text("127.0.0.1")
    assert policy.allows_text("::ffff:127.0.0.1")
    assert not policy.allows_text("10.0.0.1")


def test_the_hosts_own_addresses_are_refused_although_they_are_public() -> None:
    own = frozenset({ip_address("9.9.9.9")})
    assert not Policy(own=own).allows_text("9.9.9.9")
    assert Policy(own=own, nets=(ip_network("9.9.9.9/32"),)).allows_text("9.9.9.9")


def test_text_that_is_not_an_address_is_refused() -> None:
    assert not Policy().allows_text("example.com")


@given(address=st.ip_addresses(v=4))
def test_an_ipv4_address_and_its_mapped_form_are_judged_alike(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    assert unwrapped(mapped) == address
    assert is_public(mapped) == is_public(address)
