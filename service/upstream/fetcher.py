"""One attempt at one URL: a request, its redirects, and a body of bounded size. The outcome is a value."""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from time import monotonic
from typing import Any, Final, Literal

from service.core.address import Policy
from service.core.batch import Failure, Kind
from service.core.pool import Pool
from service.core.target import Refusal, Target, check_redirect
from service.upstream.cache import Cache
from service.upstream.deadlines import Deadlines
from service.upstream.failures import failure_of
from service.upstream.guard import AresLookup, GuardedResolver, Lookup, guarded_socket
from service.upstream.http1.answer import Answer
from service.upstream.http1.client import Client
from service.upstream.http1.dialer import Dialer, Timing
from service.upstream.http1.errors import Disconnected, InvalidRequest, ProtocolError
from service.upstream.orders import Fetched, Order, milliseconds, traced
from service.upstream.rfc9111 import Stored
from service.upstream.robots import Robots

__all__ = ["Fetcher"]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Not carried to another origin: they were meant for the first (CVE-2026-34518, CVE-2026-47265).
_PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
# After which everything is asked for: it is not changed, or the server refuses the conditions that we added.
_UNCONDITIONAL: Final = frozenset({304, 400, 412, 416, 431})
# What a stored answer may stand in for, if its upstream allows it (RFC 5861, section 4).
_FAILING: Final = frozenset({500, 502, 503, 504})
_UNREACHED: Final[frozenset[Kind]] = frozenset({"connect", "dns", "timeout", "protocol", "tls"})
_NOT_TIMED: Final = {"dns": 0.0, "connect": 0.0, "first_byte": 0.0, "total": 0.0}


class Fetcher:
    """The one way out: a client behind the guard, without cookies, proxies or credentials."""

    def __init__(
        self,
        policy: Policy,
        cache: Cache,
        *,
        robots: bool = False,
        reading_bytes: int = 256 << 20,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = policy
        self.cache = cache
        self._robots = Robots(self.fetch) if robots else None
        self.reading = Pool(reading_bytes)
        """Bytes of bodies that are being read now, by the owner of the request."""
        self._resolver = GuardedResolver(policy, lookup or AresLookup(timeout=5.0))
        self._client = Client(Dialer(self._resolver, guarded_socket(policy), tls))
        self._deadlines = Deadlines()

    async def close(self) -> None:
        """Close every connection."""
        if self._robots is not None:
            await self._robots.close()
        self._deadlines.close()
        self._client.close()
        await self._resolver.close()

    def prolong(self, task: "asyncio.Task[Any]", timeout: float) -> None:
        """Give the fetch that runs in this task so many seconds from now on."""
        self._deadlines.begin(task, timeout)

    def recall(self, order: Order) -> Fetched | None:
        """Answer from the cache alone, at once."""
        if order.cache == "reload" or order.cache == "no-store" or order.body is not None:
            return None
        stored = self.cache.find(order.method, order.target.url, order.headers)
        return self._stored(order, stored, "hit", _NOT_TIMED) if stored is not None else None

    async def fetch(self, order: Order, task: "asyncio.Task[Any]") -> Fetched | Failure:
        """Make one attempt, in the current task; expected trouble is a Failure of the contract's kinds."""
        outcome = await self._attempt(order, task)
        bad = outcome.status in _FAILING if isinstance(outcome, Fetched) else outcome.kind in _UNREACHED
        if bad and order.question is not None:
            stored = order.question.stale(self.cache.clock())
            if stored is not None:
                return self._stored(order, stored, "hit", _NOT_TIMED)
        return outcome

    async def _attempt(self, order: Order, task: "asyncio.Task[Any]") -> Fetched | Failure:
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
        except (ProtocolError, Disconnected, InvalidRequest, OSError) as error:
            return failure_of(error)
        finally:
            self._deadlines.end(task)

    async def _follow(self, order: Order, started: float) -> Fetched | Failure:
        method, headers, body = order.method, order.headers, order.body
        timing = Timing()
        for _ in range(order.redirects + 1):
            target = order.target
            if self._robots is not None and order.robots and not await self._robots.allows(target):
                return Failure("blocked", "the host's robots.txt forbids it")
            response = await self._ask(order, method, headers, body, timing, started)
            if isinstance(response, Fetched):
                return response
            locations = response.locations if response.status in _REDIRECTS else ()
            if not locations:
                return await self._read(order, target, response, timing, started)
            response.release()
            refused = await self._move_on(order, locations)
            if refused is not None:
                return refused
            if order.target.origin != target.origin:
                headers = {name: value for name, value in headers.items() if name.lower() not in _PRIVATE}
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
        return Failure("redirects", f"more than {order.redirects} redirects")

    async def _move_on(self, order: Order, locations: Collection[str]) -> Failure | None:
        """Have the order ask where a redirect leads, or return why not."""
        if len(locations) > 1:
            return Failure("protocol", "the redirect has several Location headers that differ")
        [location] = locations
        hop = check_redirect(order.target, location, self.policy)
        if isinstance(hop, Refusal):
            return Failure(hop.kind, hop.detail)
        if not order.hosts.allows(hop.host):
            return Failure("blocked", order.hosts.refusal(hop.host))
        if hop.origin != order.target.origin and order.move is not None:
            refused = await order.move(hop.origin)
            if refused is not None:
                return refused
        order.target = hop
        return None

    async def _ask(
        self,
        order: Order,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timing: Timing,
        started: float,
    ) -> Answer | Fetched:
        """Send one request, with conditions where something is stored already; a 304 to them brings that."""
        order.question = None
        if order.cache != "no-store" and body is None and order.want_body:
            order.question = self.cache.ask(method, order.target.url, headers, anew=order.cache == "reload")
        if order.question is None or not order.question.conditions:
            return await self._client.ask(method, order.target, traced(order, headers), body, timing)
        conditional = {**traced(order, headers), **order.question.conditions}
        response = await self._client.ask(method, order.target, conditional, body, timing)
        if response.status not in _UNCONDITIONAL:
            return response
        response.release()
        if response.status == 304:
            stored = order.question.confirmed(response.headers, self.cache.clock())
            if stored is not None:
                return self._stored(order, stored, "revalidated", _times(timing, started, monotonic()))
            # It confirms something that is not here.
            order.question = None
        return await self._client.ask(method, order.target, traced(order, headers), body, timing)

    def _stored(
        self, order: Order, stored: Stored, cache: Literal["hit", "revalidated"], timing: dict[str, float]
    ) -> Fetched:
        most = order.max_bytes if order.want_body else 0
        return Fetched(
            stored.status,
            order.target,
            stored.aged(self.cache.clock()),
            stored.body[:most],
            order.want_body and len(stored.body) > most,
            timing,
            cache,
        )

    async def _read(
        self, order: Order, target: Target, response: Answer, timing: Timing, started: float
    ) -> Fetched:
        first_byte = monotonic()
        body, truncated = b"", False
        if order.want_body:
            try:
                body, truncated = await self._body(response, order)
            except BaseException:
                response.close()
                raise
        response.release()
        headers = response.headers
        if order.question is not None and not truncated:
            order.question.answered(response.status, headers, body, self.cache.clock())
        return Fetched(response.status, target, headers, body, truncated, _times(timing, started, first_byte))

    async def _body(self, response: Answer, order: Order) -> tuple[bytes, bool]:
        """Read decoded bytes up to the bound; most bodies come in one piece."""
        most, pieces, size = order.max_bytes, [], 0
        try:
            while size <= most and (piece := await response.piece()):
                pieces.append(piece)
                size += len(piece)
                self.reading.take(order.owner, len(piece))
        finally:
            self.reading.give_back(order.owner, size)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return (body[:most], True) if size > most else (body, False)


def _times(timing: Timing, started: float, first_byte: float) -> dict[str, float]:
    return {
        "dns": milliseconds(timing.dns),
        "connect": milliseconds(timing.connect),
        "first_byte": milliseconds(first_byte - started),
        "total": milliseconds(monotonic() - started),
    }
