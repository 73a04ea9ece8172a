"""What both clients and the bench know of the upstreams."""

from typing import Final

__all__ = ["BOUND", "FAR", "HOSTS", "at"]

HOSTS: Final = (*(f"127.0.1.{number}" for number in range(1, 20)), "localhost")
"""What the careful client asks."""
FAR: Final = tuple(f"127.0.2.{number}" for number in range(1, 41))
"""Hosts of the attacker's own."""
BOUND: Final = ("127.0.0.1", *HOSTS[:-1])
"""Addresses of the first."""


def at(port: int, number: int, path: str, hosts: tuple[str, ...] = HOSTS) -> str:
    """Return the URL of a path at one host or another."""
    return f"http://{hosts[number % len(hosts)]}:{port}/{path}"
