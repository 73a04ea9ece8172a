"""One attempt at one URL: a request, its redirects, and a body of bounded size. The outcome is a value."""

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any, Final

import aiohttp
from aiohttp import hdrs

from service.core.address import Policy
from service.core.batch import Failure, Kind
from service.core.target import Refusal, Target, check_redirect
from service.upstream.deadlines import Deadlines
from service.upstream.exchange import Exchange, Timing
from service.upstream.guard import (
    AddressRefused,
    AresLookup,
    GuardedResolver,
    Lookup,
    NameNotFound,
    guarded_socket,
)

__all__ = ["Fetched", "Fetcher", "Order"]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Not carried to another origin: they were meant for the first (CVE-2026-34518, CVE-2026-47265).
_PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_HEADERS_SIZE: Final = 16 << 10
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*"?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class Order:
    """What to fetch; ``timeout`` in seconds is for everything, ``max_bytes`` for the decoded body."""

    target: Target
    """What is asked; moved along by redirects."""
    method: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    max_bytes: int
    redirects: int
    want_body: bool = True


@dataclass(slots=True)
class Fetched:
    """An answer, whatever its status."""

    status: int
    target: Target
    headers: dict[str, str]
    body: bytes
    truncated: bool
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def charset(self) -> str | None:
        """What the answer says of its body's charset (RFC 9110, section 8.3.2)."""
        found = _CHARSET.search(self.headers.get("content-type", ""))
        return found[1] if found else None

    @property
    def retry_after(self) -> float | None:
        """The seconds of a ``Retry-After``, whether it has them or a date (RFC 9110, section 10.2.3)."""
        text = self.headers.get("retry-after")
        if text is None:
            return None
        if text.isascii() and text.isdigit():
            return float(text[:8])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time())
        except ValueError:
            return None


class Fetcher:
    """The one way out: aiohttp's connector behind the guard, without cookies, proxies or credentials."""

    def __init__(self, policy: Policy, *, lookup: Lookup | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.policy = policy
        self.reading = 0
        """Bytes of bodies that are being read now."""
        self._resolver = GuardedResolver(policy, lookup or AresLookup(timeout=5.0))
        self._connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=guarded_socket(policy),
            ssl=tls or True,
            # The plan says who may start; the connector would only count a second time.
            limit=0,
            ttl_dns_cache=30,
            dns_cache_max_size=1000,
            happy_eyeballs_delay=0.25,
        )
        self._exchange = Exchange(self._connector)
        self._deadlines = Deadlines()

    async def close(self) -> None:
        """Close every connection."""
        self._deadlines.close()
        await self._exchange.close()
        await self._connector.close()
        await self._resolver.close()

    def prolong(self, task: "asyncio.Task[Any]", timeout: float) -> None:
        """Give the fetch that runs in this task so many seconds from now on."""
        self._deadlines.begin(task, timeout)

    async def fetch(self, order: Order, task: "asyncio.Task[Any]") -> Fetched | Failure:
        """Make one attempt, in the current task; expected trouble is a Failure of the contract's kinds."""
        started = monotonic()
        self._deadlines.begin(task, order.timeout)
        try:
            return await self._follow(order, started)
        except asyncio.CancelledError:
            if not self._deadlines.overdue(task):
                raise
            return Failure("timeout", f"took longer than {order.timeout:g} s")
        except TimeoutError:
            return Failure("timeout", "the connection took too long")
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            return _translated(error)
        finally:
            self._deadlines.end(task)

    async def _follow(self, order: Order, started: float) -> Fetched | Failure:
        method, headers, body = order.method, order.headers, order.body
        timing = Timing()
        for _ in range(order.redirects + 1):
            target = order.target
            response = await self._exchange.begin(method, target, headers, body, timing)
            location = response.headers.get(hdrs.LOCATION) if response.status in _REDIRECTS else None
            if location is None:
                return await self._read(order, target, response, timing, started)
            response.close()
            hop = check_redirect(target, location, self.policy)
            if isinstance(hop, Refusal):
                return Failure(hop.kind, hop.detail)
            if hop.origin != target.origin:
                headers = {name: value for name, value in headers.items() if name.lower() not in _PRIVATE}
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
            order.target = hop
        return Failure("redirects", f"more than {order.redirects} redirects")

    async def _read(
        self, order: Order, target: Target, response: aiohttp.ClientResponse, timing: Timing, started: float
    ) -> Fetched:
        first_byte = monotonic()
        body, truncated = b"", False
        if order.want_body and order.method != "HEAD":
            try:
                body, truncated = await self._body(response, order.max_bytes)
            except BaseException:
                response.close()
                raise
        if truncated or not order.want_body:
            response.close()
        else:
            response.release()
        return Fetched(
            response.status,
            target,
            _plain(response.headers),
            body,
            truncated,
            {
                "dns": _ms(timing.dns),
                "connect": _ms(timing.connect),
                "first_byte": _ms(first_byte - started),
                "total": _ms(monotonic() - started),
            },
        )

    async def _body(self, response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
        """Read decoded bytes up to the bound; most bodies come in one piece."""
        content, pieces, size = response.content, [], 0
        try:
            while size <= most and not content.at_eof():
                piece = await content.readany()
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
                self.reading += len(piece)
        finally:
            self.reading -= size
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return (body[:most], True) if size > most else (body, False)


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Return lower-cased names with their values joined, as far as 16 KiB go."""
    plain: dict[str, str] = {}
    room = _HEADERS_SIZE
    for name, value in headers.items():
        room -= len(name) + len(value)
        if room < 0:
            break
        lower = name.lower()
        plain[lower] = f"{plain[lower]}, {value}" if lower in plain else value
    return plain


_KINDS: Final[tuple[tuple[type[BaseException], Kind, str], ...]] = (
    (AddressRefused, "blocked", "the address is not public"),
    (NameNotFound, "dns", "the name has no address"),
    (aiohttp.ClientConnectorDNSError, "dns", "the name has no address"),
    (aiohttp.ClientSSLError, "tls", "no trusted TLS connection"),
    (ssl.SSLError, "tls", "no trusted TLS connection"),
    (aiohttp.InvalidURL, "invalid_url", "cannot be requested"),
    (aiohttp.ClientPayloadError, "protocol", "the body broke off or is malformed"),
    (aiohttp.ClientResponseError, "protocol", "the answer is not HTTP"),
    (aiohttp.ServerConnectionError, "connect", "the connection broke before an answer"),
    (OSError, "connect", "no connection"),
    (ValueError, "protocol", "the answer is not HTTP"),
    (aiohttp.ClientError, "protocol", "the answer is not HTTP"),
)
"""The one table from foreign exceptions to the contract's kinds; the first that fits anywhere in the chain
of the guard's own, then the first that fits. Details stay coarse: they must not tell who scans which port
is open."""


def _translated(error: BaseException) -> Failure:
    chain = tuple(_chain(error))
    for kind in _KINDS[:2]:
        if any(isinstance(link, kind[0]) for link in chain):
            return Failure(kind[1], kind[2])
    for cls, kind_, detail in _KINDS:
        if isinstance(error, cls):
            return Failure(kind_, detail)
    raise AssertionError from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(inner := getattr(error, "os_error", None), BaseException):
            yield inner
        error = error.__cause__


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
