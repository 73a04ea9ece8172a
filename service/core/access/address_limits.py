"""What one address may have: connections at once, handshakes and requests a second.

Addresses are a hostile input as everything else: there are more than memory has room for. A connection is
held by its caller anyway; of the rates only as many addresses are remembered as the limit says, and each
only until its bucket is idle.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from service.core.access.rate_limits import spend
from service.core.errors import LimitReached, RateExceeded

__all__ = ["AddressLimiter", "AddressLimits"]

_AT_ONCE: Final = 10_000
"""Addresses that are forgotten at once, 0.1 us each."""


@dataclass(frozen=True, slots=True)
class AddressLimits:
    """Bounds of one address. Rates are a second; a burst is what may come at once."""

    connections: int = 1000
    # WebSocket handshakes, and requests with wrong credentials.
    handshakes: float = 100.0
    handshakes_burst: int = 2000
    requests: float = 1000.0
    requests_burst: int = 5000
    # What a connection costs that was closed for flooding: five seconds of handshakes.
    flood: float = 500.0
    remembered: int = 100_000


class AddressLimiter:
    """All addresses that have something now, or had a moment ago."""

    def __init__(self, limits: AddressLimits) -> None:
        self.limits = limits
        self._connections: dict[str, int] = {}
        self._handshakes = _Buckets(limits.handshakes, limits.handshakes_burst, limits.remembered)
        self._requests = _Buckets(limits.requests, limits.requests_burst, limits.remembered)

    def __repr__(self) -> str:
        return f"<AddressLimiter {len(self._connections)} connected, {self.remembered} remembered>"

    @property
    def remembered(self) -> int:
        """How many buckets are kept."""
        return len(self._handshakes) + len(self._requests)

    def handshake(self, address: str, now: float) -> None:
        """Count a handshake in, or raise RateExceeded."""
        if wait := self._handshakes.spend(address, now):
            rate = self.limits.handshakes
            raise RateExceeded(f"limit handshakes of an address: {rate:g} a second", retry_after=round(wait, 3))

    def flooded(self, address: str, now: float) -> None:
        """Charge for a connection that ended with a flood: a new one would begin with a whole burst again."""
        self._handshakes.charge(address, self.limits.flood, now)

    def request(self, address: str, now: float) -> None:
        """Count a request in, or raise RateExceeded."""
        if wait := self._requests.spend(address, now):
            rate = self.limits.requests
            raise RateExceeded(f"limit requests of an address: {rate:g} a second", retry_after=round(wait, 3))

    def check(self, address: str) -> None:
        """Raise LimitReached where an address has as many connections as it may."""
        if self._connections.get(address, 0) >= self.limits.connections:
            raise LimitReached(f"limit connections of an address: {self.limits.connections}")

    def enter(self, address: str) -> None:
        """Count a connection in."""
        self._connections[address] = self._connections.get(address, 0) + 1

    def leave(self, address: str) -> None:
        """Count a connection out."""
        left = self._connections[address] - 1
        if left:
            self._connections[address] = left
        else:
            del self._connections[address]

    def sweep(self, now: float) -> None:
        """Forget idle buckets."""
        self._handshakes.sweep(now)
        self._requests.sweep(now)


class _Buckets:
    """A bucket for each address, those that were used last at the end."""

    def __init__(self, rate: float, burst: int, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._idle_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._idle_at)

    def spend(self, address: str, now: float) -> float:
        wait, idle_at = spend(self._idle_at.get(address, 0.0), now, rate=self._rate, burst=self._burst)
        self._keep(address, idle_at)
        return wait

    def charge(self, address: str, count: float, now: float) -> None:
        self._keep(address, max(self._idle_at.get(address, 0.0), now) + count / self._rate)

    def _keep(self, address: str, idle_at: float) -> None:
        self._idle_at[address] = idle_at
        self._idle_at.move_to_end(address)
        if len(self._idle_at) > self._most:
            self._idle_at.popitem(last=False)

    def sweep(self, now: float) -> None:
        for _ in range(min(_AT_ONCE, len(self._idle_at))):
            if next(iter(self._idle_at.values())) > now:
                return
            self._idle_at.popitem(last=False)
