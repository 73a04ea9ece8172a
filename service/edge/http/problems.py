"""Every error as ``application/problem+json`` (RFC 9457), aiohttp's own included."""

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from service.core.errors import InternalError, Overloaded, SluiceError
from service.core.ports import Refusals
from service.edge.http.aiohttp_internals import forget_frames
from service.edge.http.correlation import REQUEST_ID, correlation_of
from service.runtime.threads import ThreadUnavailable

__all__ = [
    "ISOLATION",
    "complete_refusal",
    "is_departure",
    "problems",
    "reason_of",
    "refusal",
    "refusal_of_connection",
    "unreadable",
]

_log = logging.getLogger("sluice.http")

ISOLATION: Final = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
"""What every answer carries: no other page may load it as an image or a script, and no browser guesses its type."""
_KEPT: Final = (
    "Accept-Encoding",
    "Allow",
    "Content-Range",
    "Location",
    "Retry-After",
    "Sec-WebSocket-Version",
    "Upgrade",
    "WWW-Authenticate",
)


def refusal(error: SluiceError | web.HTTPException, request: web.Request) -> web.Response:
    """Return the answer for what was raised on purpose, by us or by aiohttp; 429 and 503 say when to come back."""
    more: dict[str, Any] = {"request_id": correlation_of(request).request_id}
    if not isinstance(error, SluiceError):
        headers = {name: error.headers[name] for name in _KEPT if name in error.headers}
        detail = error.text if error.text and not error.text.startswith(f"{error.status}: ") else None
        more["temporary"] = error.status in (408, 429, 503, 504)
        return _document(error.status, reason_of(error), detail, more, headers)
    headers = {}
    if error.status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or 1)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = _document(error.status, error.reason, error.detail, {**error.data(), **more}, headers)
    if error.status == 503:
        # For proxies: what is refused for a drain goes to another instance, what is refused for load does not.
        response.headers["Sluice-Reason"] = error.reason
        # A client that is to come back later leaves its descriptor to those that are served.
        response.force_close()
    return response


async def complete_refusal(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: what aiohttp refuses before any middleware is a problem document, too."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        problem = refusal(response, request)
        response.body = problem.body
        response.content_type, response.charset = problem.content_type, None
        response.headers[hdrs.CONTENT_LENGTH] = str(problem.content_length)


def reason_of(error: SluiceError | web.HTTPException) -> str:
    """Return the word that stands for what was raised."""
    if isinstance(error, SluiceError):
        return error.reason
    return _word(error.status)


def _word(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_")


def unreadable(status: int, message: str | None) -> web.Response:
    """Return the answer to what is not a request: the parser's words, without the client's bytes."""
    return _without_request(status, (message or "").partition(":")[0].partition("\n")[0][:100])


def refusal_of_connection(detail: str) -> bytes:
    """Return an answer that ends a connection on which HTTP cannot begin."""
    answer = _without_request(HTTPStatus.BAD_REQUEST, detail)
    assert isinstance(answer.body, bytes)
    fields = {**answer.headers, hdrs.CONTENT_LENGTH: str(len(answer.body)), hdrs.CONNECTION: "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{head}\r\n".encode() + answer.body


def _without_request(status: int, detail: str) -> web.Response:
    request_id = secrets.token_hex(8)
    more = {"temporary": False, "request_id": request_id}
    return _document(status, _word(status), detail, more, {REQUEST_ID: request_id, **ISOLATION})


def is_departure(error: BaseException | None, transport: asyncio.Transport | None) -> bool:
    """Return whether an error says that the client has gone: a write that waits gets a plain ConnectionError.

    While the client's connection is open, such an error is of another connection, and a bug.
    """
    return isinstance(error, ConnectionError) and (transport is None or transport.is_closing())


async def problems(
    request: web.Request, answer: Awaitable[web.StreamResponse], refusals: Refusals
) -> web.StreamResponse:
    """Await an answer, and turn every exception into a problem document.

    No text of an unexpected exception leaves.
    """
    try:
        return await answer
    except (SluiceError, web.HTTPException) as error:
        if error.status < 400:
            raise
        refusals["http", reason_of(error)] += 1
        forget_frames(error)  # the router keeps its errors with the request
        return refusal(error, request)
    except ThreadUnavailable as error:
        refusals["http", Overloaded.reason] += 1
        return refusal(Overloaded(str(error)), request)
    except Exception as error:
        if is_departure(error, request.transport):
            # In the middle of its answer: there is nobody to answer, and it is not our error.
            forget_frames(error)
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        what = {"method": request.method, "path": request.path, **correlation_of(request).log_fields()}
        _log.exception("unhandled exception in a request", extra=what)
        refusals["http", InternalError.reason] += 1
        return refusal(InternalError(), request)


def _document(
    status: int, reason: str, detail: str | None, more: Mapping[str, Any], headers: Mapping[str, str]
) -> web.Response:
    members = {
        "type": f"/problems/{reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or HTTPStatus(status).phrase,
        "reason": reason,
        **more,
    }
    return web.Response(
        status=status, body=orjson.dumps(members), content_type="application/problem+json", headers=headers
    )
