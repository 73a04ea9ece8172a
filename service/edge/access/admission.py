"""Who may come in now, by load and by address: decided before anything of a request is carried out."""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from service.core.access.address_limits import AddressLimiter, AddressLimits
from service.core.access.callers import caller, caller_key
from service.core.addresses import Address, Network, unwrapped
from service.core.errors import Overloaded
from service.core.memory_budget import UNLIMITED, MemoryBudget
from service.core.overload import Level, Overload
from service.core.owner import Owner

__all__ = ["ADDRESS", "AdmissionControl", "Caller"]

ADDRESS: Final = web.RequestKey("address", str)
"""Where a request comes from, behind trusted proxies; whether or not limits by address count for it."""
_EACH: Final = 16 << 10
"""Bytes that a connection or a request takes, about."""
_USUAL: Final = 100
"""Characters of an ``X-Forwarded-For`` whose answer is remembered: of longer ones, 4,096 would be 32 MiB."""
_NAMED: Final = re.compile(rb"\n(?:x-forwarded-for|(forwarded))[ \t]*:([^\r\n]*)", re.IGNORECASE)


class Caller(NamedTuple):
    """Where a request comes from, behind trusted proxies."""

    address: str
    owner: Owner
    """The owner whose turn a request takes until its credentials are checked."""
    counts: bool
    """Whether limits by address apply to it."""


_LOCAL: Final = Caller("local", Owner("local"), counts=False)


class AdmissionControl:
    """Whether there is room at all, and the limits by address, for those that count.

    ``exempt`` are networks without such limits: there are the load balancers and programs of one's own, whose
    clients all have one address. ``trusted`` are the proxies whose word for a client's address is taken.
    """

    def __init__(
        self,
        limits: AddressLimits,
        overload: Overload,
        *,
        exempt: Sequence[Network],
        trusted: Sequence[Network],
        chance: Callable[[], float],
        memory: MemoryBudget = UNLIMITED,
    ) -> None:
        self._memory = memory
        self.addresses = AddressLimiter(limits)
        self._overload = overload
        self._chance = chance
        self._exempt = (*exempt, *trusted)
        self._trusted = trusted
        self._now = asyncio.get_running_loop().time
        self._known = lru_cache(maxsize=4096)(self._find)

    def __repr__(self) -> str:
        return f"<AdmissionControl {self.addresses!r}>"

    def handshake(self, request: web.Request, caller: Caller) -> str | None:
        """Let a WebSocket handshake pass; return the address that it counts for.

        Raises Overloaded, RateExceeded and LimitReached. Who passes is counted by ``enter`` when it is connected.
        """
        return self._pass(request, caller, self.addresses.handshake)

    def request(self, request: web.Request) -> str | None:
        """Let any other request pass; raises Overloaded, RateExceeded and LimitReached."""
        return self._pass(request, self.caller(request), self.addresses.request)

    def _pass(self, request: web.Request, caller: Caller, count: Callable[[str, float], None]) -> str | None:
        if self._overload.level >= Level.REFUSE or not self._memory.reserve(_EACH):
            # Spread, so that clients that come back after their Retry-After do not come back together.
            raise Overloaded("the service is overloaded", retry_after=round(5 + 10 * self._chance(), 1))
        address = request[ADDRESS] = caller.address
        if not caller.counts:
            return None
        count(address, self._now())
        self.addresses.check(address)
        return address

    def wrong(self, request: web.Request) -> None:
        """Record wrong credentials; raises RateExceeded where one address shows many."""
        caller = self.caller(request)
        if caller.counts:
            self.addresses.handshake(caller.address, self._now())

    def enter(self, address: str | None) -> None:
        """Count a connection in."""
        if address is not None:
            self.addresses.enter(address)

    def leave(self, address: str | None, *, flooding: bool = False) -> None:
        """Count a connection out; one that was closed for flooding has its address wait for the next."""
        if address is not None:
            self.addresses.leave(address)
            if flooding:
                self.addresses.flooded(address, self._now())

    def scheme(self, request: web.Request) -> str:
        """Return the scheme that the client used: of its connection, or as a trusted proxy says."""
        transport = request.transport
        own = "https" if transport is not None and transport.get_extra_info("sslcontext") else "http"
        peer = transport.get_extra_info("peername") if transport is not None else None
        if not self._trusted or not isinstance(peer, tuple) or not self._trusts(peer[0]):
            return own
        listed = [hop for line in request.headers.getall(hdrs.X_FORWARDED_PROTO, ()) for hop in line.split(",")]
        listed += [hop["proto"] for hop in request.forwarded if "proto" in hop]
        named = {hop.strip().lower() for hop in listed}
        # Where they differ, a client may have written one of them itself.
        return named.pop() if len(named) == 1 and named <= {"http", "https"} else own

    def _trusts(self, peer: str) -> bool:
        address = unwrapped(ip_address(peer))
        return any(address in network for network in self._trusted)

    def caller(self, request: web.Request) -> Caller:
        """Return where a request comes from."""
        transport = request.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if not isinstance(peer, tuple):
            return _LOCAL
        at = peer[0]
        if not self._trusted:
            return self._known(at)
        listed = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
        if hdrs.FORWARDED in request.headers or len(listed) > 1 or len(listed[0] if listed else "") > _USUAL:
            return self._find(at, *listed, forwarded=[hop.get("for", "") for hop in request.forwarded])
        return self._known(at, *listed)

    def caller_in(self, peer: object, head: bytes) -> Owner | None:
        """Return the owner whose turn a request takes before its head is read; None where no proxy names one.

        Thousands of clients may come through one proxy at the same moment. What is named by ``Forwarded``, or in
        several lines, is known only once the head is read.
        """
        if not self._trusted or not isinstance(peer, tuple):
            return None
        named = _NAMED.findall(head)
        if len(named) != 1 or named[0][0] or len(named[0][1]) > _USUAL:
            return None
        found = self._known(peer[0], named[0][1].decode("latin-1"))
        return found.owner if found.owner != self._known(peer[0]).owner else None

    def _find(self, at: str, *listed: str, forwarded: Sequence[str] = ()) -> Caller:
        """Return where a request comes from, by what its peer says of the client that it forwards."""
        peer = unwrapped(ip_address(at))
        hops = [hops for hops in (forwarded, [hop for header in listed for hop in header.split(",")]) if hops]
        if not hops:
            return self._counted(peer)
        found = caller(peer, hops, self._trusted)
        # A proxy that names nobody, or two, has no exemption for them.
        return self._counted(found) if found is not None else _caller_at(peer, counts=True)

    def _counted(self, address: Address) -> Caller:
        """Return the caller at an address; limits apply to it unless the address is exempt."""
        return _caller_at(address, counts=not any(address in network for network in self._exempt))


def _caller_at(address: Address, *, counts: bool) -> Caller:
    key = caller_key(address)
    return Caller(key, Owner(key), counts)
