"""One request and the head of its answer, over aiohttp's connections and parsers.

``ClientSession.request`` spends half of a small fetch on what never applies here: cookies, proxies, credentials,
middlewares, a timer for each request, tracing, uploads in pieces. This is what remains; why, and what it saves,
is in docs/decisions/03-exchange.md.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Final, cast

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from service import __version__
from service.core.target import Target

__all__ = ["Answer", "Exchange", "Timing"]

_NO_TIMERS: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_read=None, sock_connect=None)
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_ORIGINS: Final = 1024
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


class Answer:
    """The head of an answer, and the reader of its body. Whoever has it closes or releases it."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, content: StreamReader) -> None:
        self.status = message.code
        self.headers = message.headers
        self.content = content
        self._connection = connection

    @property
    def locations(self) -> set[str]:
        """Every ``Location`` that is not empty, as octets decoded as Latin-1; aiohttp decodes them as UTF-8."""
        values = self.headers.getall(hdrs.LOCATION, ())
        return {value.encode("utf-8", "surrogateescape").decode("latin-1") for value in values if value.strip()}

    def close(self) -> None:
        """Cut the connection."""
        self._connection.close()

    def release(self) -> None:
        """Keep the connection for the next request, if all of the body has come."""
        if self.content.is_eof() and self.status != 101:
            self._connection.release()
        else:
            self._connection.close()


class Exchange:
    """Sends requests through a connector; time limits are the caller's, by cancelling."""

    def __init__(self, connector: aiohttp.TCPConnector) -> None:
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        # How to reach an origin, and what every request to it begins with.
        self._origins: dict[str, tuple[aiohttp.ClientRequest, CIMultiDict[str], bytes]] = {}

    async def begin(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, timing: Timing
    ) -> Answer:
        """Return the answer once its head has come; the caller reads its body and lets go of it.

        Raises what aiohttp raises, and ValueError for a header that cannot be sent. A kept connection that
        the server has closed meanwhile is replaced once.
        """
        try:
            return await self._begin(method, target, headers, body, timing)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not timing.reused or method not in _REPEATABLE:
                raise
            return await self._begin(method, target, headers, body, timing)

    async def _begin(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None, timing: Timing
    ) -> Answer:
        origin, defaults, written = self._origins.get(target.origin) or self._learn(target)
        if headers or body is not None:
            written = _written(defaults, headers, body)
        traces = cast("list[Trace]", [timing])
        connection = await self._connector.connect(origin, traces=traces, timeout=_NO_TIMERS)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(
                skip_payload=method == "HEAD", read_until_eof=True, auto_decompress=True, read_bufsize=1 << 16
            )
            line = f"{method} {target.request_target} HTTP/1.1\r\n".encode("ascii")
            transport.write(line + written if body is None else line + written + body)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
        except BaseException:
            connection.close()
            raise
        return Answer(connection, message, content)

    def _learn(self, target: Target) -> tuple[aiohttp.ClientRequest, CIMultiDict[str], bytes]:
        if len(self._origins) >= _ORIGINS:
            self._origins.clear()
        request = aiohttp.ClientRequest(
            "GET",
            URL(target.url, encoded=True),
            headers=_DEFAULTS,
            loop=self._loop,
            response_class=aiohttp.ClientResponse,
        )
        known = self._origins[target.origin] = (request, request.headers, _written(request.headers, {}, None))
        return known


def _written(defaults: CIMultiDict[str], headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Return header lines as they are sent, up to the empty line; what is given wins over the defaults."""
    merged = CIMultiDict(defaults)
    for name, value in headers.items():
        merged[name] = value
    if body is not None:
        merged[hdrs.CONTENT_LENGTH] = str(len(body))
        merged.setdefault(hdrs.CONTENT_TYPE, "application/octet-stream")
    lines = []
    for name, value in merged.items():
        # What clients send was checked; an upstream's ETag comes back to it as a condition.
        if not value.isprintable() and any(sign in value for sign in "\r\n\0"):
            raise ValueError(f"{name} has a value that no header has")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "surrogateescape")
