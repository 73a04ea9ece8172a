"""Request bodies: of a bounded size, within a bounded time, and the key under which one counts once."""

import asyncio
from typing import Any, Final, NoReturn

from aiohttp import hdrs, web

from service.core.errors import InvalidParams, Overloaded, TooLarge
from service.core.memory_budget import UNLIMITED, MemoryBudget
from service.core.owner import Owner
from service.core.parsing import parse
from service.edge.http.large_json import LARGE, LARGE_JSON, STEPS
from service.runtime.per_turn import PerTurn
from service.upstream.http1.codings import ACCEPTED, Decoding, codings_of
from service.upstream.http1.errors import ProtocolError

__all__ = ["MEMORY", "check_json", "read_body", "read_json", "requested_key"]

MEMORY: Final = web.AppKey("memory", MemoryBudget)
"""The memory that bodies may take; without it there is no limit."""
_PIECE: Final = 256 << 10
"""Bytes that are decoded before the next are looked at: each step copies what is left of them."""


def check_json(request: web.Request) -> None:
    """Raise HTTPUnsupportedMediaType for a body whose Content-Type is not JSON."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Content-Type: a body is application/json")


async def read_json(request: web.Request, owner: Owner, size: int, time: float) -> Any:
    """Return the body's JSON value; owners take turns with large ones.

    Raises HTTPUnsupportedMediaType, ParseError, and what ``read_body`` does.
    """
    check_json(request)
    text = await _read(request, owner, size, time)
    large = request.app.get(LARGE_JSON) if len(text) > LARGE else None
    if large is None:
        return parse(text)
    return await large.parse(text, owner)


async def read_body(request: web.Request, owner: Owner, size: int, time: float) -> bytes:
    """Return the body without its content codings: at most ``size`` bytes, encoded and decoded.

    Owners take turns when many bodies are decoded.

    Raises TooLarge, HTTPRequestTimeout (aiohttp itself waits for a body without end), HTTPBadRequest for a body
    that cannot be decoded by its codings, and HTTPUnsupportedMediaType for a coding that is not supported.
    """
    return bytes(await _read(request, owner, size, time))


async def _read(request: web.Request, owner: Owner, size: int, time: float) -> bytes | bytearray:
    codings = _codings(request)
    if request.content_length is not None and request.content_length > size:
        _refuse(size)
    memory = request.app.get(MEMORY, UNLIMITED)
    _make_room(memory, request.content_length or 0)
    # Put together as it comes: 16 MiB take 25 ms at once.
    body = bytearray()
    try:
        async with asyncio.timeout(time):
            while piece := await request.content.readany():
                if len(body) + len(piece) > size:
                    _refuse(size)
                if request.content_length is None:
                    _make_room(memory, len(piece))
                body += piece
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not come within {time:g} s") from None
    except web.RequestPayloadError:
        raise web.HTTPBadRequest(text="the body is malformed") from None
    if not codings:
        return body
    large = request.app.get(LARGE_JSON)
    return await _decoded(body, codings, size, owner, large.steps if large else PerTurn(STEPS))


def _make_room(memory: MemoryBudget, size: int) -> None:
    if not memory.reserve(size):
        raise Overloaded("the service is short of memory", retry_after=5.0)


def _codings(request: web.Request) -> tuple[str, ...]:
    if not (values := request.headers.getall(hdrs.CONTENT_ENCODING, ())):
        return ()
    value = ", ".join(values)
    named = [name for part in value.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    try:
        codings = codings_of(value)
    except ProtocolError as error:
        raise web.HTTPUnsupportedMediaType(text=f"Content-Encoding: {error}") from None
    if len(codings) < len(named):
        raise web.HTTPUnsupportedMediaType(
            text=f"Content-Encoding: only {ACCEPTED} are supported", headers={hdrs.ACCEPT_ENCODING: ACCEPTED}
        )
    return codings


async def _decoded(body: bytearray, codings: tuple[str, ...], size: int, owner: Owner, steps: PerTurn) -> bytes:
    decoding = Decoding(codings)
    made, pieces = 0, []
    try:
        for at in range(0, len(body), _PIECE):
            decoding.feed(bytes(body[at : at + _PIECE]))
            while not decoding.hungry:
                await steps.wait(owner)
                pieces.append(decoding.step())
                made += len(pieces[-1])
                if made > size:
                    _refuse(size)
        decoding.finish()
    except ProtocolError as error:
        raise web.HTTPBadRequest(text=f"Content-Encoding: {error}") from None
    return b"".join(pieces)


def _refuse(size: int) -> NoReturn:
    raise TooLarge(f"limit body: at most {size} bytes")


def requested_key(request: web.Request) -> str | None:
    """Return the client's ``Idempotency-Key``, or raise InvalidParams."""
    keys = set(request.headers.getall("Idempotency-Key", ()))
    if len(keys) > 1:
        raise InvalidParams("Idempotency-Key: given more than once, with different values")
    key = next(iter(keys), None)
    if key is not None and not 1 <= len(key) <= 128:
        raise InvalidParams("Idempotency-Key: 1 to 128 characters")
    return key
