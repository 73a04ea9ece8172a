"""Who calls: the address that limits by address count for, through trusted proxies.

A proxy says whom it speaks for: ``Forwarded`` (RFC 7239) or ``X-Forwarded-For``. What a client writes
there itself stands left of what the first trusted proxy adds, so the list is read from the right.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from service.core.addresses import Address, Network, unwrapped

__all__ = ["caller", "caller_key", "network_of", "parse_hop"]

_SITE = 64
"""Bits of an IPv6 address that one site has in common (RFC 6177): the rest is its own to choose."""
_NETWORK: Final = {4: 24, 6: 48}
"""Bits of an address that many sites of one customer have in common: the smallest networks that are routed."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


def parse_hop(text: str) -> Address | None:
    """Return the address that a proxy names, with or without a port; None for ``unknown`` and the like."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        # Without a zone, which names an interface of the proxy, and may be of any length.
        return unwrapped(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def caller(peer: Address, hops: Iterable[Sequence[str]], trusted: Sequence[Network]) -> Address | None:
    """Return the right-most address that is not a trusted proxy's; ``hops`` has a list for each header.

    None where a trusted proxy names no address, or where two headers name different ones: a client can
    forge the header that its proxy does not set.
    """
    if not _within(peer, trusted):
        return peer
    named = {_right_most(header, trusted) for header in hops if header}
    if not named:
        return peer
    return named.pop() if len(named) == 1 else None


def caller_key(address: Address) -> str:
    """Return what one caller is counted under: an IPv4 address, or the /64 of an IPv6 address."""
    address = unwrapped(address)
    if isinstance(address, IPv6Address):
        address = _inside(address) or address
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, _SITE), strict=False))


def network_of(key: str) -> str:
    """Return the network of a caller, by its :func:`caller_key`; nothing for one that is not on the Internet.

    One customer of a provider may have 65,536 callers in a /48, or 256 in a /24.
    """
    try:
        network = ip_network(key)
    except ValueError:
        return ""
    if not network.network_address.is_global:
        return ""
    return str(network.supernet(new_prefix=_NETWORK[network.version]))


def _inside(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address of a client behind 6to4, Teredo or NAT64, which could choose any of many /64s."""
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _right_most(header: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    found = None
    for text in reversed(header):
        found = parse_hop(text)
        if found is None or not _within(found, trusted):
            break
    return found


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
