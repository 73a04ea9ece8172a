"""The id and the trace of an HTTP request: taken from its headers, or made, and sent with its answer."""

import secrets
from typing import Final

from aiohttp import web

from service.core.correlation import Correlation, parse_request_id, parse_trace

__all__ = ["REQUEST_ID", "add_request_id", "correlation_of"]

REQUEST_ID: Final = "X-Request-Id"
_KEY: Final = web.RequestKey("correlation", Correlation)


def correlation_of(request: web.Request) -> Correlation:
    """Return what a request is called; every call for one request returns the same."""
    known = request.get(_KEY)
    if known is None:
        headers = request.headers
        known = request[_KEY] = Correlation(
            parse_request_id(headers.get(REQUEST_ID)) or secrets.token_hex(8),
            parse_trace(headers.getall("traceparent", ()), headers.getall("tracestate", ())),
        )
    return known


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: every answer carries the id, but a WebSocket, whose lines say ``client``."""
    if response.status != 101:
        response.headers[REQUEST_ID] = correlation_of(request).request_id
