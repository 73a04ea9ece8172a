"""IP addresses, and which of them embed another address."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["Address", "Network", "unwrapped"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address inside ``::ffff:0:0/96``, which the kernel dials; else the address itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
