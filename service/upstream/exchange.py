"""One request and the head of its answer, over aiohttp's connector.

``ClientSession._request`` spends a quarter of a small fetch on what never applies here: cookies, proxies,
credentials, middlewares, a timer for each request, tracing. This is the part of it that remains; why, and
what it saves, is in docs/decisions/03-exchange.md.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final, cast

import aiohttp
from aiohttp import hdrs
from aiohttp.tracing import Trace
from multidict import CIMultiDict

from service import __version__
from service.core.target import Target

__all__ = ["Exchange", "Timing"]

_NO_TIMERS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_read=None, sock_connect=None)
_BODILESS: Final = frozenset({"HEAD"})
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_DEFAULTS: Final[dict[str, str]] = {hdrs.USER_AGENT: f"sluice/{__version__}"}


class Timing:
    """How long a new connection took, in seconds: what aiohttp calls a trace, cut down to that.

    A connection that was kept costs neither look-up nor connect.
    """

    __slots__ = ("_began", "_connecting", "connect", "dns", "reused")

    def __init__(self) -> None:
        self.dns = 0.0
        self.connect = 0.0
        self.reused = False
        self._began = 0.0
        self._connecting = 0.0

    async def send_dns_resolvehost_start(self, host: str) -> None:
        """Note when a look-up begins."""
        self._began = monotonic()

    async def send_dns_resolvehost_end(self, host: str) -> None:
        """Add a look-up."""
        self.dns += monotonic() - self._began

    async def send_dns_cache_hit(self, host: str) -> None:
        """Pass over a look-up that was not made."""

    send_dns_cache_miss = send_dns_cache_hit

    async def send_connection_create_start(self) -> None:
        """Note when a connection is begun."""
        self._connecting = monotonic()

    async def send_connection_create_end(self) -> None:
        """Add a connect, its TLS handshake included and its look-up not."""
        self.connect += monotonic() - self._connecting - self.dns

    async def send_connection_reuseconn(self) -> None:
        """Note that the connection was kept from before."""
        self.reused = True

    async def send_connection_queued_start(self) -> None:
        """Pass over the connector's queue, which is never used."""

    send_connection_queued_end = send_connection_queued_start


class Exchange:
    """Sends requests through a connector; time limits are the caller's, by cancelling."""

    def __init__(self, connector: aiohttp.TCPConnector) -> None:
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        # A response wants a session to ask for its JSON codec and cookies; this one sends nothing.
        self._session = aiohttp.ClientSession(
            connector=connector, connector_owner=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    async def close(self) -> None:
        """Let go of the session; the connector is the caller's."""
        await self._session.close()

    async def begin(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, timing: Timing
    ) -> aiohttp.ClientResponse:
        """Return the response once its head has come; the caller reads or closes it.

        Raises what aiohttp raises. A kept connection that the server has closed meanwhile is replaced once.
        """
        try:
            return await self._begin(method, target, headers, body, timing)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not timing.reused or method not in _REPEATABLE:
                raise
            return await self._begin(method, target, headers, body, timing)

    async def _begin(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, timing: Timing
    ) -> aiohttp.ClientResponse:
        request = aiohttp.ClientRequest(
            method,
            target.url,
            headers=CIMultiDict([*_DEFAULTS.items(), *headers.items()]) if headers else _DEFAULTS,
            data=body,
            loop=self._loop,
            response_class=aiohttp.ClientResponse,
            session=self._session,
        )
        traces = cast("list[Trace]", [timing])
        connection = await self._connector.connect(request, traces=traces, timeout=_NO_TIMERS)
        try:
            protocol = connection.protocol
            assert protocol is not None
            protocol.set_response_params(
                skip_payload=method in _BODILESS, auto_decompress=True, read_bufsize=1 << 16
            )
            response = await request.send(connection)
            try:
                await response.start(connection)
            except BaseException:
                response.close()
                raise
        except BaseException:
            connection.close()
            raise
        return response
