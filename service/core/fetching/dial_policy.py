"""Which addresses the service may dial.

``ipaddress.is_global`` is not that rule: it is true for multicast, NAT64, v4-compatible and site-local
addresses on every CPython, and for more on older ones (CVE-2024-4032). So the lists stand here, after
IANA's special-purpose registries; an IPv6 address has to be in 2000::/3 to begin with.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from service.core.addresses import Address, Network, unwrapped

__all__ = ["DEFAULT_PORTS", "Policy", "is_public"]

DEFAULT_PORTS = frozenset({80, 443, 8080, 8443})

_REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux connects to loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server, in the public range
        "169.254.0.0/16",  # link-local; the clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",
    )
)


def is_public(address: Address) -> bool:
    """Return whether the address is one that anyone on the internet may reach."""
    address = unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The operator's word: what may be dialled beside public addresses, and on which ports.

    Two policies are never equal: the one of a service is a key to what was judged by it.

    ``own`` are the addresses of this host, refused although they may be public, unless a net lets them in.
    """

    nets: tuple[Network, ...] = ()
    ports: frozenset[int] = DEFAULT_PORTS
    own: frozenset[Address] = frozenset()

    def allows(self, address: Address) -> bool:
        """Return whether this address may be dialled; zone ids never."""
        if isinstance(address, IPv6Address) and address.scope_id:
            return False
        address = unwrapped(address)
        if any(address in net for net in self.nets):
            return True
        return is_public(address) and address not in self.own

    def allows_text(self, text: str) -> bool:
        """Return whether the numeric address of a socket address may be dialled."""
        try:
            return self.allows(ip_address(text))
        except ValueError:
            return False
