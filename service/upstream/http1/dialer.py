"""Makes connections: every socket comes from the guard, with the very address that is dialled."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, socket
from time import monotonic
from typing import cast

from aiohappyeyeballs import start_connection

from service.core.fetching.target import Target
from service.core.owner import Owner
from service.runtime.awaiting import connect
from service.upstream.guard import AddrInfo, GuardedResolver
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.http1.connection import Connection

__all__ = ["DialTiming", "Dialer"]

_STAGGER = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305)."""


class DialTiming:
    """How long a new connection took, in seconds; one that was kept costs neither look-up nor connect."""

    # Most are never written to.
    dns = 0.0
    connect = 0.0
    reused = False


class _RaceLoop:
    """The loop for the race between addresses, which are connected to without a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def __repr__(self) -> str:
        return f"<_RaceLoop {self._loop!r}>"

    async def sock_connect(self, sock: socket, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
        """Connect to an address."""
        await connect(sock, address)


class Dialer:
    """Looks a name up, and connects to the first of its addresses that answers."""

    def __init__(
        self,
        resolver: GuardedResolver,
        make_socket: Callable[[AddrInfo], socket],
        answers: AnswerTurns,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._resolver = resolver
        self._make_socket = make_socket
        self._answers = answers
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._race = cast("asyncio.AbstractEventLoop", _RaceLoop(self._loop))

    async def dial(self, target: Target, owner: Owner, timing: DialTiming) -> Connection:
        """Return a new connection; raise OSError, of which AddressRefused, NameNotFound and SSLError are kinds."""
        started = monotonic()
        addresses = [target.host] if _is_address(target.host) else await self._resolver.resolve(target.host, owner)
        looked_up = monotonic()
        timing.dns += looked_up - started
        connection = await self._connect(addresses, target, owner)
        timing.connect += monotonic() - looked_up
        return connection

    async def _connect(self, addresses: list[str], target: Target, owner: Owner) -> Connection:
        infos = [_info(address, target.port) for address in addresses]
        try:
            sock = await start_connection(
                infos, happy_eyeballs_delay=_STAGGER, loop=self._race, socket_factory=self._make_socket
            )
        except OSError as error:
            # The frames of the race keep its errors, and those the frames: with them the attempt, and its body.
            error.__traceback__ = None
            raise
        except RuntimeError as error:
            # What uvloop and the race between addresses raise beside OSError.
            raise OSError(str(error)) from error
        secure = target.scheme == "https"
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection((target.origin, owner), sock, self._answers),
                sock=sock,
                ssl=(self._tls or _trusting()) if secure else None,
                server_hostname=target.host if secure else None,
            )
        except BaseException:
            # A transport that has the socket has to close it first: once closed, its number may be reused at once.
            self._loop.call_soon(sock.close)
            raise
        return connection


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _info(address: str, port: int) -> AddrInfo:
    if ":" in address:
        return AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", (address, port, 0, 0)
    return AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (address, port)


@cache
def _trusting() -> ssl.SSLContext:
    """Return the context for everyone's https: reading the certificates that are trusted takes 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
