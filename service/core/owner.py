"""Who something belongs to: one name for a client, in all that is held for it, and over all of its connections.

An owner is the subject of a signed token, else the token itself, else the address behind trusted proxies.
``Grant.owner`` makes it where a client comes in; topics, batches, watches, requests and flights carry it on.
"""

from typing import Final

__all__ = ["SERVICE", "Owner"]


class Owner(str):
    """A name, with what its credentials say of its shares; two are equal that have the same name."""

    __slots__ = ("apart", "network", "shares_fetches", "weight", "witness")

    weight: float
    """How many times the usual share of each pool it has."""
    shares_fetches: bool
    """Whether answers that were fetched for it may be given to others, and those of others to it."""
    apart: str
    """What keeps its fetches apart from those of others: its name, or nothing where they are shared."""
    network: str
    """The network of an owner that is a public address, of which one client may have many; empty for others."""
    witness: str
    """As whom it tells how a host does: its network, or its name where it has none."""

    def __new__(cls, name: str, weight: float = 1.0, *, shares_fetches: bool = True, network: str = "") -> "Owner":
        """Make one; strings have no ``__init__``."""
        owner = super().__new__(cls, name)
        owner.weight = weight
        owner.shares_fetches = shares_fetches
        owner.apart = "" if shares_fetches else name
        owner.network, owner.witness = network, network or name
        return owner


SERVICE: Final = Owner("service")
"""What belongs to no client."""
