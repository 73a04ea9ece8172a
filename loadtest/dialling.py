"""TCP connections to the first address of a name that takes one."""

import asyncio
import os
import socket as sockets
import ssl
from ipaddress import ip_address
from time import monotonic

from loadtest.endpoint import Endpoint, SocketAddress

__all__ = ["dialled", "reason", "source_addresses"]

_PORTS_PER_ADDRESS = 20_000
"""Sockets from one loopback address; Linux gives out about 28,000 ports for each."""


def reason(error: OSError) -> str:
    """Return what a person knows it by: event loops put texts of their own where the system's would be."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}: --ca FILE names who signed it, --insecure takes any certificate"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers there does not speak TLS; is it an http or ws URL?"
    if isinstance(error, ssl.SSLError) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def dialled(
    loop: asyncio.AbstractEventLoop, endpoint: Endpoint, number: int, source: str | None, timeout: float
) -> tuple[sockets.socket, float]:
    """Return a connection to the first address that takes one, and when that attempt began; raises OSError."""
    order = endpoint.addresses.order(number)
    errors: list[str] = []
    for place, address in enumerate(order):
        began = monotonic()
        try:
            # An address that says nothing leaves time for the others.
            async with asyncio.timeout(timeout / (len(order) - place + 1) if len(order) > 1 else None):
                raw = await _connected(loop, address, source)
        except (OSError, TimeoutError) as error:
            endpoint.addresses.refused(address)
            if len(order) == 1:
                raise
            why = reason(error) if error.args else "no answer"
            errors.append(f"{address[1][0]}: {why}")
        else:
            endpoint.addresses.accepted(address)
            return raw, began
    raise OSError("; ".join(errors) or f"{endpoint.host} has no address")


async def _connected(loop: asyncio.AbstractEventLoop, address: SocketAddress, source: str | None) -> sockets.socket:
    family, where = address
    raw = sockets.socket(family, sockets.SOCK_STREAM)
    try:
        raw.setblocking(False)
        # Small messages that wait for an acknowledgement would be latency of ours.
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        if source and family == sockets.AF_INET:
            # The port is chosen at connect, by the pair of both ends: an address has room for more.
            raw.setsockopt(sockets.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            raw.bind((source, 0))
        await loop.sock_connect(raw, where)
    except BaseException:
        raw.close()
        raise
    return raw


def source_addresses(host: str, count: int) -> list[str | None]:
    """Return the addresses to connect from: several on loopback, where one has too few ports."""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or ":" in host or count <= _PORTS_PER_ADDRESS:
        return [None]
    return [f"127.0.0.{2 + number}" for number in range(-(-count // _PORTS_PER_ADDRESS))]
