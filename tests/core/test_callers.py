"""Who calls: read from the right, past trusted proxies alone, and never believed from a stranger."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.access.callers import caller, caller_key, network_of, parse_hop

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
PROXY = ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:4711 ", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25" + "x" * 4000 + "]:80", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("[", None),
        ("192.0.2.256", None),
        ("1.2.3.4.5:80", None),
    ],
)
def test_a_hop_is_an_address_with_or_without_a_port(text: str, address: str | None) -> None:
    assert parse_hop(text) == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    ("hops", "found"),
    [
        ([], "10.0.0.1"),
        ([[]], "10.0.0.1"),
        ([["192.0.2.1"]], "192.0.2.1"),
        ([["198.51.100.9", "192.0.2.1"]], "192.0.2.1"),
        ([["198.51.100.9", "192.0.2.1", "10.9.9.9", "fd00::1"]], "192.0.2.1"),
        ([["10.0.0.7", "10.0.0.8"]], "10.0.0.7"),
        ([["192.0.2.1", "unknown"]], None),
        ([["192.0.2.1", ""]], None),
        ([["192.0.2.1"], ["192.0.2.1:80"]], "192.0.2.1"),
        ([["192.0.2.1"], ["198.51.100.9"]], None),
        ([["192.0.2.1"], ["unknown"]], None),
    ],
)
def test_the_right_most_address_that_is_not_a_trusted_proxy_is_the_caller(
    hops: list[list[str]], found: str | None
) -> None:
    assert caller(PROXY, hops, TRUSTED) == (ip_address(found) if found else None)


@given(hops=st.lists(st.lists(st.text(max_size=20), max_size=5), max_size=2))
def test_a_peer_that_is_not_a_trusted_proxy_is_the_caller(hops: list[list[str]]) -> None:
    peer = ip_address("192.0.2.7")
    assert caller(peer, hops, TRUSTED) == peer


@given(forged=st.lists(st.text(max_size=20), max_size=20), address=st.integers(0xC6336400, 0xC63364FF))
def test_nothing_that_a_client_forges_moves_what_its_proxy_says(forged: list[str], address: int) -> None:
    said = IPv4Address(address)
    assert caller(PROXY, [[*forged, str(said)]], TRUSTED) == said


def test_an_ipv6_site_is_one_caller() -> None:
    assert caller_key(ip_address("2001:db8:1:2::1")) == caller_key(ip_address("2001:db8:1:2:ffff::9"))
    assert caller_key(ip_address("2001:db8:1:2::1")) != caller_key(ip_address("2001:db8:1:3::1"))
    assert caller_key(ip_address("::ffff:192.0.2.1")) == caller_key(ip_address("192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("2002:c000:201:77::1", "192.0.2.1"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdfe", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9c::192.0.2.1", "64:ff9c::/64"),
    ],
)
def test_one_caller_is_counted_under_one_name(text: str, key: str) -> None:
    assert caller_key(ip_address(text)) == key


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("8.8.4.7", "8.8.4.0/24"),
        ("2600:1f00:12:3456::1", "2600:1f00:12::/48"),
        ("2002:808:407::1", "8.8.4.0/24"),  # 6to4
        ("127.0.0.1", ""),
        ("10.1.2.3", ""),
        ("100.64.0.1", ""),
        ("fd00::1", ""),
        ("fe80::1", ""),
    ],
)
def test_the_public_addresses_of_a_customer_are_one_network(text: str, network: str) -> None:
    assert network_of(caller_key(ip_address(text))) == network


def test_a_malformed_address_has_no_network() -> None:
    assert network_of("") == network_of("unix") == ""
