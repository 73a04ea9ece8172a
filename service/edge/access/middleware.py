"""Who may come in: host, origin, credentials and how many at once, checked before any handler runs."""

import re
from collections.abc import Awaitable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from service.core.access.grants import NOTHING, Grant
from service.core.errors import Overloaded, SluiceError, Unauthorized
from service.core.pool import Pool
from service.core.ports import Refusals
from service.edge.access.admission import ADDRESS, AdmissionControl
from service.edge.access.credentials import GRANT, OWNER, Credentials, bearer
from service.edge.access.origins import AllowedOrigins
from service.edge.http.handshake import BEARER, offered_protocols
from service.edge.http.problems import problems, reason_of, refusal
from service.edge.http.server import read_for
from service.runtime.per_turn import PerTurn

__all__ = ["AccessMiddleware", "add_cors"]

_OPEN: Final = frozenset({"/healthz", "/readyz", "/", "/openapi.json", "/asyncapi.json"})
_OF_WORKERS: Final = frozenset({f"/jobs/{{id}}/attempts/{{attempt}}/{act}" for act in ("claim", "events")})
_ALWAYS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered however many come: operators have to see what is wrong."""
_REQUESTS: Final = 4
"""Requests that begin in one turn of the loop, clients in turns, 0.3 ms each: 700 at once would take 170 ms.
Under a flood of requests, fetches of another client took 32 ms (p99) with 8, 25 with 4; the flood got 7 % less."""
_BODY: Final = 16 << 10
"""Bytes of a body that cost as much as one more request."""
_SPARE: Final = 20
"""Of the descriptors that the acceptor has for connections that are to be refused (``fitting.REFUSED``)."""
_MAJOR: Final = 1
"""Of HTTP."""
_BAD_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_CORS_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, Traceparent, Tracestate, X-Request-Id"
)


class AccessMiddleware:
    """The middleware of every route."""

    def __init__(
        self,
        credentials: Credentials,
        admission: AdmissionControl,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        connections: int,
        refusals: Refusals,
        sockets: Iterable[str] = ("/ws",),
    ) -> None:
        # A few places beyond the bound are for clients that one owner would lock out.
        spare = min(_SPARE, max(1, connections // 10))
        self.slots = Pool(
            "connections", connections + spare, eager=connections // spare, strict=True, error=Overloaded,
            advice="requests that are under way",
        )  # fmt: skip
        """Requests under way that are not WebSockets; one owner alone has as many as the bound says."""
        self._requests = PerTurn(_REQUESTS)
        self.refusals = refusals
        self._credentials = credentials
        self._admission = admission
        self._pages = AllowedOrigins(
            hosts=hosts, origins=origins, guarded=lambda: credentials.needed, admission=admission
        )
        self._sockets = frozenset(sockets)
        self._below = tuple(path for path in self._sockets if path.endswith("/"))

    def __repr__(self) -> str:
        return f"<AccessMiddleware {self.slots!r}>"

    def middleware(self) -> "web.middleware":  # type: ignore[valid-type]  # aiohttp's decorator names no type
        """Return the middleware."""

        # No coroutine: its frame would stay for as long as the WebSocket behind it.
        @web.middleware
        def access(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
            try:
                _check_framing(request)
            except web.HTTPException as error:
                return _answer(self._last_answer(request, error))
            if self._is_socket(request.path) and request.method == hdrs.METH_GET:
                try:
                    self._pages.check_host(request)
                    self._pages.check_origin(request)
                except (SluiceError, web.HTTPException) as error:
                    self.refusals["handshake", reason_of(error)] += 1
                    return _answer(refusal(error, request))
                return handler(request)
            return problems(request, self._enter(request, handler), self.refusals)

        return access

    def _last_answer(self, request: web.Request, error: web.HTTPException) -> web.Response:
        """Return the answer to a request after which nothing more is read from its connection."""
        self.refusals["http", reason_of(error)] += 1
        response = refusal(error, request)
        response.force_close()
        return response

    def _is_socket(self, path: str) -> bool:
        """Return whether a WebSocket is served there; a path that ends with a slash stands for all below it."""
        return path in self._sockets or (path.startswith(self._below) and path not in self._below)

    def authorise(self, request: web.Request) -> Grant | None:
        """Return what a WebSocket's credentials grant, or None where it shows none though it has to.

        Raises Unauthorized for wrong ones; browsers can see that after the upgrade only.
        """
        token = bearer(request) or _protocol_bearer(request)
        if token is None and self._credentials.needed:
            return None
        return self._credentials.check(token)

    async def _enter(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_path(request)
        self._pages.check_host(request)
        cors = self._pages.check_origin(request)
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return web.Response(status=204, headers={**cors, **_preflight()})
        if cors:
            request[_CORS] = cors
        elif not _is_open(request.path):
            self._pages.check_site(request)
        if request.path in _ALWAYS:
            await self._requests.wait(self._admission.caller(request).owner)
            self._check_token(request)
            return await handler(request)
        address = self._admission.request(request)
        grant = self._check_token(request)
        owner = request[OWNER] = grant.owner(request[ADDRESS])
        read_for(request, owner)
        await self._requests.wait(owner, 1 + (request.content_length or 0) // _BODY)
        self.slots.check(owner)
        self.slots.charge(owner, 1)
        self._admission.enter(address)
        try:
            return await handler(request)
        finally:
            self.slots.release(owner, 1)
            self._admission.leave(address)

    def _check_token(self, request: web.Request) -> Grant:
        if _is_open(request.path) or _is_for_workers(request):
            return NOTHING
        try:
            grant = request[GRANT] = self._credentials.check(bearer(request))
        except Unauthorized:
            self._admission.wrong(request)
            raise
        if request.path == "/metrics":
            # The same figures as those of the topic, for clients that may read that.
            grant.check_read("_stats")
        return grant


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/static/")


def _is_for_workers(request: web.Request) -> bool:
    """Return whether the token is that of an attempt, which its route checks.

    The route tells, and not the path: an encoded slash is one in the path alone.
    """
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in _OF_WORKERS


def _check_framing(request: web.Request) -> None:
    """Refuse what aiohttp lets in though a server on the way may read it as something else, or as two requests.

    Its connection has to be closed after the answer.
    """
    if request.version.major != _MAJOR:
        raise web.HTTPVersionNotSupported(text="only HTTP/1.1 and HTTP/1.0 are supported")
    if hdrs.TRANSFER_ENCODING in request.headers:
        if request.version < HttpVersion11:
            # Its end is not where others see it (RFC 9112, section 6.1).
            raise web.HTTPBadRequest(text="Transfer-Encoding: HTTP/1.0 has none")
        codings = ",".join(request.headers.getall(hdrs.TRANSFER_ENCODING)).split(",")
        if [coding.strip(" \t").lower() for coding in codings] != ["chunked"]:
            raise web.HTTPNotImplemented(text="Transfer-Encoding: only chunked is supported")


def _check_path(request: web.Request) -> None:
    """Refuse a path whose percent-encoding is not one, or not of UTF-8: aiohttp would take it as it stands."""
    path = request.raw_path.partition("?")[0]
    if "%" not in path:
        return
    if _BAD_PERCENT.search(path):
        raise web.HTTPBadRequest(text="path: % must be followed by two hexadecimal digits; write it as %25")
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(text="path: percent-encoded bytes must be UTF-8") from None


async def _answer(response: web.Response) -> web.StreamResponse:
    return response


_CORS: Final = web.RequestKey("cors", Mapping[str, str])


async def add_cors(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: streams too carry the CORS headers of their request."""
    cors = request.get(_CORS)
    if cors:
        response.headers.update(cors)


def _preflight() -> dict[str, str]:
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, DELETE",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _CORS_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: "600",
    }


def _protocol_bearer(request: web.Request) -> str | None:
    """Return the token that a browser offers beside the subprotocol: it cannot set headers."""
    for name in offered_protocols(request):
        if name.startswith(BEARER):
            return name[len(BEARER) :] or None
    return None
