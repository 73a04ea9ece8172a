"""One attempt at one URL: a request, its redirects, and a body of bounded size. The outcome is a value."""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final, Literal

from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, FailureKind, Fetched
from service.core.fetching.target import Refusal, Target, check_redirect
from service.core.memory_budget import UNLIMITED, MemoryBudget, OutOfMemory
from service.core.owner import Owner
from service.core.pool import Pool
from service.runtime.per_turn import PerTurn
from service.runtime.threads import ThreadUnavailable
from service.upstream.attempts import FetchAttempt, milliseconds, reflects, traced
from service.upstream.caching.cache import Cache, Revalidation
from service.upstream.caching.rfc9111 import StoredResponse, blamed, cache_key, shareable
from service.upstream.deadlines import Deadlines
from service.upstream.failures import failure_of
from service.upstream.guard import AresLookup, GuardedResolver, Lookup, NoTurn, guarded_socket
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.http1.client import HttpClient, Response
from service.upstream.http1.dialer import Dialer, DialTiming
from service.upstream.http1.errors import ProtocolError, ServerDisconnected, UnwritableRequest
from service.upstream.reading import LEAST, PATIENCE, BodyReads
from service.upstream.robots import Robots

__all__ = ["Fetcher"]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Not carried to another origin: they were meant for the first (CVE-2026-34518, CVE-2026-47265).
_PRIVATE: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
# After which everything is asked for: it is not changed, or the server refuses the conditions that we added.
_UNCONDITIONAL: Final = frozenset({304, 400, 412, 416, 431})
# What a stored answer may stand in for, if its upstream allows it (RFC 5861, section 4).
_FAILING: Final = frozenset({500, 502, 503, 504})
_UNREACHED: Final[frozenset[FailureKind]] = frozenset({"connect", "dns", "timeout", "protocol", "tls"})
_TAKEN: Final = 1 << 20
"""Bytes of bodies that are taken from connections in one turn of the loop, 0.2 ms for each 256 KiB: the connections
of others wait, and are not read. Hundreds that come together would take 30 ms."""
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
        memory: MemoryBudget = UNLIMITED,
    ) -> None:
        self.memory = memory
        self.policy = policy
        self.cache = cache
        self._robots = Robots(self.fetch) if robots else None
        self.reading = Pool("reading_bytes", reading_bytes)
        """Bytes of bodies that are being read now, by the owner of the request."""
        self._reading = BodyReads(self.reading)
        self.resolver = GuardedResolver(policy, lookup or AresLookup(timeout=1.5))
        self.answers = AnswerTurns()
        self._client = HttpClient(Dialer(self.resolver, guarded_socket(policy), self.answers, tls))
        self._deadlines = Deadlines()
        self._taking = PerTurn(_TAKEN, _TAKEN // 4)

    async def close(self) -> None:
        """Close every connection."""
        if self._robots is not None:
            await self._robots.close()
        self._deadlines.close()
        self._reading.close()
        self._client.close()
        await self.resolver.close()

    def prolong(self, task: "asyncio.Task[Any]", timeout: float) -> None:
        """Give the fetch that runs in this task ``timeout`` seconds from now on."""
        self._deadlines.begin(task, timeout)

    def keeps(self, target: Target, owner: Owner) -> bool:
        """Whether a request needs no new connection, as far as anyone can say before it is made."""
        return self._client.keeps(target.origin, owner)

    def recall(self, attempt: FetchAttempt) -> Fetched | None:
        """Answer from the cache alone, at once."""
        if attempt.cache == "reload" or attempt.cache == "no-store" or attempt.body is not None:
            return None
        key = attempt.key = cache_key(attempt.method, attempt.target.url, attempt.headers, attempt.owner.apart)
        stored = self.cache.find(key, attempt.headers) if key is not None else None
        return self._stored(attempt, stored, "hit", _NOT_TIMED) if stored is not None else None

    async def fetch(self, attempt: FetchAttempt, task: "asyncio.Task[Any]") -> Fetched | Failure:
        """Make one attempt, in the current task; expected trouble is a Failure of the contract's kinds."""
        started = monotonic()
        self._deadlines.begin(task, attempt.timeout)
        try:
            outcome = await self._follow(attempt, started)
        except asyncio.CancelledError:
            if not self._deadlines.uncancel(task):
                raise
            outcome = self._overdue(attempt)
        except TimeoutError:
            outcome = Failure("timeout", "the connection took too long")
        except (ProtocolError, ServerDisconnected, UnwritableRequest, ThreadUnavailable, OSError) as error:
            if isinstance(error, NoTurn):
                attempt.kept_apart()
            outcome = failure_of(error)
        finally:
            self._deadlines.end(task)
        if (question := attempt.question) is None or question.known is None:
            return outcome
        return self._unless_stale(attempt, question, outcome)

    def _cut_slow(self, attempt: FetchAttempt, task: "asyncio.Task[Any]") -> None:
        """End an attempt whose body hardly comes."""
        attempt.slow = True
        self._deadlines.cut(task)

    def _overdue(self, attempt: FetchAttempt) -> Failure:
        """Return why an attempt had no answer in its time."""
        if attempt.slow:
            return Failure("timeout", f"the body brought less than {LEAST} bytes in {PATIENCE:g} s")
        if self.resolver.asking(attempt.target.host, attempt.owner):
            return Failure("dns", f"the name's look-up took longer than {attempt.timeout:g} s", temporary=True)
        return Failure("timeout", f"took longer than {attempt.timeout:g} s")

    def _unless_stale(
        self, attempt: FetchAttempt, question: Revalidation, outcome: Fetched | Failure
    ) -> Fetched | Failure:
        """Return the outcome; or a stored response, where the upstream fails and has allowed that before."""
        bad = outcome.status in _FAILING if isinstance(outcome, Fetched) else outcome.kind in _UNREACHED
        stored = question.stale(self.cache.clock()) if bad else None
        return self._stored(attempt, stored, "hit", _NOT_TIMED) if stored is not None else outcome

    async def _follow(self, attempt: FetchAttempt, started: float) -> Fetched | Failure:
        method, headers, body = attempt.method, attempt.headers, attempt.body
        timing = DialTiming()
        for _ in range(attempt.redirects + 1):
            target = attempt.target
            if self._robots is not None and attempt.robots and not await self._robots.allows(target, attempt.owner):
                return Failure("blocked", "the host's robots.txt forbids it")
            asked, conditional = self._put(attempt, method, headers, body)
            response = await self._client.ask(method, target, asked, body, attempt.owner, timing)
            if not shareable(attempt.headers, response.headers):
                attempt.kept_apart()
            if conditional and response.status in _UNCONDITIONAL:
                response.release()
                if (confirmed := self._confirmed(attempt, response, timing, started)) is not None:
                    return confirmed
                asked = traced(attempt, headers)
                response = await self._client.ask(method, target, asked, body, attempt.owner, timing)
            locations = response.locations if response.status in _REDIRECTS else ()
            if not locations:
                first_byte = monotonic()
                whole = response.at_once() if attempt.want_body else b""
                body = whole if whole is not None else await self._body(attempt, response)
                return self._fetched(attempt, response, body, _times(timing, started, first_byte))
            response.release()
            refused = await self._move_on(attempt, locations)
            if refused is not None:
                return refused
            headers = headers if attempt.target.origin == target.origin else _public(headers)
            method, headers, body = _repeated(method, headers, body, response.status)
        return Failure("redirects", f"more than {attempt.redirects} redirects")

    async def _move_on(self, attempt: FetchAttempt, locations: Collection[str]) -> Failure | None:
        """Ask where a redirect leads in the next step, or return why not."""
        if len(locations) > 1:
            return Failure("protocol", "the redirect has several Location headers that differ")
        [location] = locations
        hop = check_redirect(attempt.target, location, self.policy)
        if isinstance(hop, Refusal):
            return Failure(hop.kind, hop.detail)
        if not attempt.hosts.allows(hop.host):
            return Failure("blocked", attempt.hosts.refusal(hop.host))
        if hop.origin != attempt.target.origin and attempt.move is not None:
            refused = await attempt.move(hop.origin)
            if refused is not None:
                return refused
        attempt.target, attempt.key = hop, None
        return None

    def _put(
        self, attempt: FetchAttempt, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[Mapping[str, str], bool]:
        """Return the headers to send, and whether they have conditions for what is stored already."""
        attempt.question = None
        asked = traced(attempt, headers) if attempt.trace is not None else headers
        if attempt.cache == "no-store" or body is not None or not attempt.want_body:
            return asked, False
        key = attempt.key or cache_key(method, attempt.target.url, headers, attempt.owner.apart)
        if key is None:
            return asked, False
        question = attempt.question = self.cache.ask(key, headers, attempt.owner, anew=attempt.cache == "reload")
        if question is None or not question.conditions:
            return asked, False
        return {**asked, **question.conditions}, True

    def _confirmed(
        self, attempt: FetchAttempt, response: Response, timing: DialTiming, started: float
    ) -> Fetched | None:
        """Return what a 304 confirms, if it is that and what it confirms is here."""
        if response.status != 304:
            return None
        assert attempt.question is not None
        stored = attempt.question.confirmed(response.headers, self.cache.clock())
        if stored is not None:
            return self._stored(attempt, stored, "revalidated", _times(timing, started, monotonic()))
        attempt.question = None
        return None

    def _stored(
        self,
        attempt: FetchAttempt,
        stored: StoredResponse,
        cache: Literal["hit", "revalidated"],
        timing: dict[str, float],
    ) -> Fetched:
        most = attempt.max_bytes if attempt.want_body else 0
        return Fetched(
            stored.status,
            attempt.target,
            stored.aged(self.cache.clock()),
            stored.body[:most],
            attempt.want_body and len(stored.body) > most,
            timing,
            cache,
        )

    def _fetched(self, attempt: FetchAttempt, response: Response, body: bytes, times: dict[str, float]) -> Fetched:
        """Return what came, and keep it if it may be kept."""
        truncated = len(body) > attempt.max_bytes
        if truncated:
            body = body[: attempt.max_bytes]
        response.release()
        headers = response.headers
        if shown := attempt.trace is not None and reflects(attempt.trace, headers, body):
            attempt.kept_apart()
        caused = attempt.trace is not None and blamed(response.status)
        if attempt.question is not None and not (truncated or shown or caused):
            attempt.question.answered(response.status, headers, body, self.cache.clock(), response.head_size)
        return Fetched(
            response.status, attempt.target, headers, body, truncated, times, head_size=response.head_size
        )

    def _make_room(self, size: int, response: Response) -> None:
        # Twice: as a body, and as the event that tells of it.
        if not self.memory.reserve(2 * size):
            response.close()
            raise OutOfMemory("the service is short of memory")

    async def _body(self, attempt: FetchAttempt, response: Response) -> bytes:
        """Read decoded bytes to the bound, and some beyond it where there are more."""
        task = asyncio.current_task()
        assert task is not None
        held = self._reading.begin(attempt.owner, partial(self._cut_slow, attempt, task), attempt.kept_apart)
        try:
            while held.size <= attempt.max_bytes and (piece := await response.piece(attempt.owner)):
                self._make_room(len(piece), response)
                held.add(piece)
                await held.charge(len(piece))
                await self._taking.wait(attempt.owner, len(piece))
        except BaseException:
            response.close()
            raise
        finally:
            held.end()
        return held.content


def _public(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers that another origin may see."""
    return {name: value for name, value in headers.items() if name.lower() not in _PRIVATE}


def _repeated(
    method: str, headers: Mapping[str, str], body: bytes | None, status: int
) -> tuple[str, Mapping[str, str], bytes | None]:
    """Return what is asked where a redirect leads; headers of a body go with it (RFC 9110, section 15.4)."""
    if method in ("GET", "HEAD") or not (status == 303 or (status in (301, 302) and method == "POST")):
        return method, headers, body
    return "GET", {name: value for name, value in headers.items() if not name.lower().startswith("content-")}, None


def _times(timing: DialTiming, started: float, first_byte: float) -> dict[str, float]:
    return {
        "dns": milliseconds(timing.dns) if timing.dns else 0.0,
        "connect": milliseconds(timing.connect) if timing.connect else 0.0,
        "first_byte": milliseconds(first_byte - started),
        "total": milliseconds(monotonic() - started),
    }
