"""The guard at the two doors to the network: names are resolved here, and sockets are made here.

Every connection passes :func:`guarded_socket` with the address it is about to dial, be it from a name, a
literal, a retry or a redirect; so the resolver's check is a second belt, which answers earlier and keeps
a name with one refused address from being used at all.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import aiodns
from cachetools import TTLCache

from service.core.addresses import Address
from service.core.fetching.dial_policy import Policy
from service.core.occurrences import Occurrences
from service.core.owner import SERVICE, Owner
from service.runtime.turns import Turns

__all__ = ["AddrInfo", "AddressRefused", "AresLookup", "GuardedResolver", "Lookup", "LookupFailed",
           "NameNotFound", "NoTurn", "guarded_socket", "own_addresses"]  # fmt: skip

_log = logging.getLogger("sluice.names")

AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]


class AddressRefused(OSError):
    """The guard refused the address of a connection or a name."""


class NameNotFound(OSError):
    """A name has no address."""


class LookupFailed(NameNotFound):
    """Whether a name has an address is not known: the name servers cannot be asked, or fail. Another try may do."""


class NoTurn(LookupFailed):
    """The owner that asked has too many look-ups under way: for another owner a try may succeed at once."""


_Outcome = list[str] | NameNotFound
"""The outcome of a look-up: the addresses, or why there are none."""


class Lookup(Protocol):
    """Asks the name servers: the addresses of a name, or NameNotFound, of which LookupFailed is a kind."""

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of the name, IPv4 and IPv6."""
        ...

    async def close(self) -> None:
        """Close its sockets."""
        ...


_NAMES: Final = 1000
"""Names whose addresses are kept."""
_TRIES: Final = 5
"""How often each name server is asked for one name. If earlier answers came fast, c-ares waits 0.25 s the first
time, and up to twice as long each further time: with two tries, a name that takes a second to look up would never
be found."""
_CONFIGURATION: Final = "/etc/resolv.conf"
_UNKNOWN: Final = frozenset({aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_EBADNAME})
"""What c-ares says of a name that has no address; everything else is trouble with the name servers."""


class AresLookup:
    """Look-ups by c-ares: it needs no threads, which slow name servers could use up.

    ``timeout`` is for the first answer of a name server that is not known yet. c-ares notices by itself
    that resolv.conf has changed, unless the file is mounted into a container: so each look-up checks the file.
    """

    def __init__(self, timeout: float, servers: Sequence[str] | None = None) -> None:
        self._timeout = timeout
        self._servers = servers
        self._read = _configuration()
        self._resolver = self._new()

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of the name."""
        if (found := _configuration()) != self._read:
            self._read = found
            old, self._resolver = self._resolver, self._new()
            await old.close()
        resolver = self._resolver
        try:
            answer = await resolver.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            if resolver is not self._resolver:
                return await self(host)  # resolv.conf names other servers by now
            kind = NameNotFound if error.args[0] in _UNKNOWN else LookupFailed
            raise kind(f"the name cannot be looked up: {error.args[-1]}") from None
        return [_text(node.addr[0]) for node in answer.nodes]

    async def close(self) -> None:
        """Close its sockets."""
        await self._resolver.close()

    def _new(self) -> aiodns.DNSResolver:
        return aiodns.DNSResolver(self._servers, timeout=self._timeout, tries=_TRIES)


def _configuration() -> tuple[int, int, int] | None:
    """Return a value that differs when resolv.conf has changed; None without that file."""
    try:
        found = os.stat(_CONFIGURATION)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class GuardedResolver:
    """Resolve once, check every answer, and hand on numbers only.

    One refused address refuses the whole answer: a name that points inside and outside at once is an
    attack or a mistake. Answers are kept ``ttl`` seconds; equal questions under way are asked once. Owners take
    turns, and ``spare`` look-ups are reserved for owners that have none under way while others have all
    ``lookups``: names of one owner whose servers do not answer hold up nobody else's.
    """

    def __init__(
        self,
        policy: Policy,
        lookup: Lookup,
        *,
        lookups: int = 48,
        spare: int = 16,
        timeout: float = 5.0,
        ttl: float = 30.0,
    ) -> None:
        self._policy = policy
        self._lookup = lookup
        self.turns = Turns(lookups, spare)
        self._timeout = timeout
        self._known: TTLCache[str, list[str]] = TTLCache(_NAMES, ttl, timer=time.monotonic)
        self._begun: dict[str, asyncio.Task[_Outcome]] = {}
        """Look-ups that have begun, by name: everyone who asks for the name shares one."""
        self._by_owner: dict[tuple[Owner, str], asyncio.Task[_Outcome]] = {}
        """All look-ups, by owner and name; until one begins, other owners wait for turns of their own."""
        self._failures = Occurrences(time.monotonic)

    async def resolve(self, host: str, owner: Owner = SERVICE) -> list[str]:
        """Return checked addresses; raise AddressRefused, NameNotFound or LookupFailed."""
        addresses = self._known.get(host)
        if addresses is None:
            # One asker that leaves does not end the look-up for the others; its time is bounded anyway.
            outcome = await asyncio.shield(self._look_up(host, owner))
            if isinstance(outcome, NameNotFound):
                # A new one: the traceback of the kept one would hold the frames of all who wait, and they hold it.
                raise type(outcome)(*outcome.args)
            addresses = outcome
        if not all(map(self._policy.allows_text, addresses)):
            raise AddressRefused(f"{host} has an address that is not public")
        return addresses

    def _look_up(self, host: str, owner: Owner) -> "asyncio.Task[_Outcome]":
        """Return the look-up of a name that is under way or that waits for this owner's turn, or begin one."""
        task = self._begun.get(host) or self._by_owner.get((owner, host))
        if task is None:
            task = self._by_owner[owner, host] = asyncio.create_task(self._ask(host, owner), name=f"resolve {host}")
            task.add_done_callback(partial(self._ended, host, owner))
        return task

    def _ended(self, host: str, owner: Owner, task: "asyncio.Task[_Outcome]") -> None:
        del self._by_owner[owner, host]
        if self._begun.get(host) is task:
            del self._begun[host]

    async def _ask(self, host: str, owner: Owner) -> _Outcome:
        """Return the addresses, or why there are none; it is not raised, as everyone who asked may have left."""
        began = False
        try:
            async with asyncio.timeout(self._timeout) as limit, self.turns.turn(owner):
                began = True
                # Others may join from now on: the time that its owner has waited is not to shorten theirs.
                limit.reschedule(asyncio.get_running_loop().time() + self._timeout)
                return await self._begin(host)
        except TimeoutError:
            if not began:
                return NoTurn(f"the name waited {self._timeout:g} s for other look-ups of the same client")
            return self._trouble(host, LookupFailed(f"the name's look-up took longer than {self._timeout:g} s"))
        except LookupFailed as error:
            return self._trouble(host, error)
        except NameNotFound as error:
            return error

    async def _begin(self, host: str) -> _Outcome:
        """Look a name up, unless another owner's look-up has found it meanwhile or is under way."""
        if (known := self._known.get(host)) is not None:
            return known
        if (other := self._begun.get(host)) is not None:
            return await asyncio.shield(other)
        task = asyncio.current_task()
        assert task is not None
        self._begun[host] = task
        addresses = await self._lookup(host)
        if not addresses:
            raise NameNotFound(f"{host} has no address")
        self._known[host] = addresses
        return addresses

    def _trouble(self, host: str, error: LookupFailed) -> LookupFailed:
        """Log that name servers fail, once a minute: every name is concerned."""
        if count := self._failures.happened():
            _log.warning("names cannot be looked up", extra={"host": host, "why": str(error), "count": count})
        return error

    def asking(self, host: str, owner: Owner = SERVICE) -> bool:
        """Whether a look-up of a name is under way, or waits for its turn."""
        return host in self._begun or (owner, host) in self._by_owner

    async def close(self) -> None:
        """End look-ups under way."""
        tasks = tuple(self._by_owner.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lookup.close()


def guarded_socket(policy: Policy) -> Callable[[AddrInfo], socket.socket]:
    """Return the one factory of sockets that go out: it raises AddressRefused for what may not be dialled."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, proto, _, address = info
        if not policy.allows_text(str(address[0])) or address[1] not in policy.ports:
            raise AddressRefused(f"{address[0]} port {address[1]} is not allowed")
        sock = socket.socket(family, kind, proto)
        sock.setblocking(False)
        return sock

    return make


def own_addresses() -> frozenset[Address]:
    """Return the addresses of this host, from procfs; empty where there is none."""
    found: set[Address] = set()
    tree, inet6 = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
    if tree.exists():
        lines = tree.read_text().splitlines()
        for above, line in pairwise(lines):
            if "/32 host LOCAL" in line:
                found.add(IPv4Address(above.split()[-1]))
    if inet6.exists():
        found.update(IPv6Address(bytes.fromhex(line.split()[0])) for line in inet6.read_text().splitlines())
    return frozenset(found)


def _text(address: bytes | str) -> str:
    return str(ip_address(address.decode() if isinstance(address, bytes) else address))
