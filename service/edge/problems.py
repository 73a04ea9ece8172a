"""Every error as ``application/problem+json`` (RFC 9457), aiohttp's own included."""

import logging
import math
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web

from service.core.errors import InternalError, SluiceError
from service.core.services import Refusals

__all__ = ["problem", "problems", "reason_of", "refusal"]

_log = logging.getLogger("sluice.http")

_KEPT: Final = ("Allow", "Location", "Retry-After", "Sec-WebSocket-Version", "Upgrade", "WWW-Authenticate")


def problem(error: SluiceError) -> web.Response:
    """Return the answer to a request that was refused; 429 and 503 say when to come back."""
    headers = {}
    if error.status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or 1)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = _document(error.status, error.reason, error.detail, error.data(), headers)
    if error.status == 503:
        # Whoever is to come back later leaves its descriptor to those that are served.
        response.force_close()
    return response


def refusal(error: SluiceError | web.HTTPException) -> web.Response:
    """Return the answer for what was raised on purpose, by us or by aiohttp."""
    if isinstance(error, SluiceError):
        return problem(error)
    headers = {name: error.headers[name] for name in _KEPT if name in error.headers}
    detail = error.text if error.text and not error.text.startswith(f"{error.status}: ") else None
    return _document(
        error.status, reason_of(error), detail, {"temporary": error.status in (408, 429, 503)}, headers
    )


def reason_of(error: SluiceError | web.HTTPException) -> str:
    """Return the word that stands for what was raised."""
    if isinstance(error, SluiceError):
        return error.reason
    return HTTPStatus(error.status).phrase.lower().replace(" ", "_")


async def problems(
    request: web.Request, answer: Awaitable[web.StreamResponse], refusals: Refusals
) -> web.StreamResponse:
    """Await an answer, and turn whatever it raises into a problem document.

    No text of an unexpected exception leaves.
    """
    try:
        return await answer
    except (SluiceError, web.HTTPException) as error:
        if error.status < 400:
            raise
        refusals["http", reason_of(error)] += 1
        return refusal(error)
    except ConnectionResetError:
        # The client has gone in the middle of its answer: nobody is told, and it is no error of ours.
        return web.Response(status=HTTPStatus.BAD_REQUEST)
    except Exception:
        _log.exception("%s %s failed inside", request.method, request.path)
        refusals["http", InternalError.reason] += 1
        return problem(InternalError("a bug of ours; it was logged"))


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
