"""Request bodies: of a bounded size, within a bounded time, and the key under which one counts once."""

import asyncio
from typing import Any, NoReturn

from aiohttp import web

from service.core.errors import InvalidParams, TooLarge
from service.core.exact import parse

__all__ = ["read_body", "read_json", "requested_key"]


async def read_json(request: web.Request, size: int, time: float) -> Any:
    """Return the body's JSON value.

    Raises HTTPUnsupportedMediaType, ParseError, and what ``read_body`` does.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Content-Type: a body is application/json")
    return parse(await read_body(request, size, time))


async def read_body(request: web.Request, size: int, time: float) -> bytes:
    """Return the body; raises TooLarge, and HTTPRequestTimeout: aiohttp itself waits for a body without end."""
    if request.content_length is not None and request.content_length > size:
        _refuse(size)
    pieces, have = [], 0
    try:
        async with asyncio.timeout(time):
            while piece := await request.content.readany():
                have += len(piece)
                if have > size:
                    _refuse(size)
                pieces.append(piece)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {time:g} s") from None
    return b"".join(pieces)


def _refuse(size: int) -> NoReturn:
    raise TooLarge(f"limit body: at most {size} bytes")


def requested_key(request: web.Request) -> str | None:
    """Return the client's ``Idempotency-Key``, or raise InvalidParams."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 128:
        raise InvalidParams("Idempotency-Key: 1 to 128 characters")
    return key
