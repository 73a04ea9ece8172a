"""Everything that the service uses of aiohttp beside its documented interface, and what is done without it.

Each use is a :class:`Feature`. Whether the installed aiohttp has the names that a feature needs is looked up once,
at the start, by the names and not by a version. Where one is missing the service runs without the feature, and
:func:`check` logs one warning that says what that costs.
"""

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy

from service.runtime.containment import report

__all__ = [
    "Feature",
    "HookedWebSocket",
    "check",
    "forget_frames",
    "forget_request",
    "has",
    "is_paused",
    "is_serving",
    "is_waiting",
    "reader_of",
    "release_ended",
    "release_handshake_state",
    "release_unconnected",
    "request_of",
    "task_of",
]

_log = logging.getLogger("sluice.http")


class Feature(Enum):
    """What the internals are used for; the value says what the service does without them."""

    UNUSED = "connections on which no request is under way are not closed early when descriptors are short"
    ENDINGS = (
        "places of closed connections are given out before their handlers have ended; idle cuts are not noticed"
    )
    FRAMES = "frames of WebSocket clients that are not masked are accepted"
    READING = "bodies of requests that come by the hundred are read in one turn of the loop"
    HANDSHAKE = "each WebSocket keeps the headers of its handshake, 4 to 7 KiB"
    ENDED = "connections that ended with an error stay in memory until the collector of cycles finds them"

    # The hash of enumerations is a Python function, and `has` is called four times for each connection.
    __hash__ = object.__hash__


NEEDED: Final[Mapping[Feature, tuple[tuple[type, str], ...]]] = {
    Feature.UNUSED: ((RequestHandler, "_waiter"),),
    Feature.ENDINGS: ((RequestHandler, "_task_handler"), (RequestHandler, "_current_request")),
    Feature.FRAMES: (
        (web.WebSocketResponse, "_post_start"),
        (RequestHandler, "_message_tail"),
        (RequestHandler, "_payload_parser"),
    ),
    Feature.READING: ((RequestHandler, "_reading_paused"),),
    Feature.HANDSHAKE: (
        (RequestHandler, "_messages"),
        (RequestHandler, "_parser"),
        (RequestHandler, "_upgraded"),
        (web.BaseRequest, "_message"),
        (web.BaseRequest, "_headers"),
        (web.BaseRequest, "_cache"),
    ),
    Feature.ENDED: ((web.WebSocketResponse, "_reader"), (RequestHandler, "_parser")),
}
_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


@cache
def has(feature: Feature) -> bool:
    """Return whether the installed aiohttp has what a feature needs."""
    return not _missing(feature)


def _missing(feature: Feature) -> list[str]:
    return [f"{owner.__name__}.{name}" for owner, name in NEEDED[feature] if not _has_name(owner, name)]


def _has_name(owner: type, name: str) -> bool:
    """Return whether a class has an attribute, or its constructor sets it."""
    constructor = getattr(owner.__init__, "__code__", None)  # type: ignore[misc]
    return hasattr(owner, name) or (constructor is not None and name in constructor.co_names)


def check() -> None:
    """Warn, once for all of them, of the features that the installed aiohttp cannot have."""
    off = [feature for feature in Feature if not has(feature)]
    if off:
        _log.warning(
            "aiohttp is not the version that is expected: the service runs without some protections",
            extra={
                "version": aiohttp.__version__,
                "missing": [name for feature in off for name in _missing(feature)],
                "why": "; ".join(feature.value for feature in off),
            },
        )


def is_waiting(handler: RequestHandler) -> bool:
    """Return whether a connection waits for its next request, or its first; False where that is not known."""
    if not has(Feature.UNUSED):
        return False
    waiter: Any = handler._waiter
    return waiter is not None and not waiter.done()


def task_of(handler: RequestHandler) -> "asyncio.Task[None] | None":
    """Return the task that serves a connection, where it is known and has begun."""
    return handler._task_handler if has(Feature.ENDINGS) else None


def request_of(handler: RequestHandler) -> web.BaseRequest | None:
    """Return the request that is under way on a connection, where there is one and that is known."""
    return handler._current_request if has(Feature.ENDINGS) else None


def is_serving(handler: RequestHandler) -> bool:
    """Return whether a request is under way on a connection; False where that is not known."""
    return request_of(handler) is not None


def is_paused(handler: RequestHandler) -> bool:
    """Return whether a connection is not read for now, as its request has not taken what came; False if unknown."""
    return has(Feature.READING) and handler._reading_paused


class HookedWebSocket(web.WebSocketResponse):
    """A WebSocket whose reader of frames can be replaced."""

    def reader(self, reader: Any) -> Any:
        """Return what gets the bytes of the client instead of aiohttp's reader."""
        return reader

    def _post_start(self, request: Any, protocol: Any, writer: Any) -> None:
        # aiohttp makes its reader here, and gives it what came right behind the upgrade: that goes the same way.
        if not has(Feature.FRAMES):
            super()._post_start(request, protocol, writer)
            return
        connection = request.protocol
        early, connection._message_tail = connection._message_tail, b""
        super()._post_start(request, protocol, writer)
        connection._payload_parser = self.reader(connection._payload_parser)
        if early:
            connection.data_received(early)


def reader_of(request: web.Request) -> Any:
    """Return the reader of the bytes of an upgraded connection; None if it is not known."""
    protocol: Any = request.protocol
    return protocol._payload_parser if has(Feature.FRAMES) else None


def release_handshake_state(request: web.Request, response: web.WebSocketResponse) -> None:
    """Free the state of a WebSocket's handshake; its request must not be read afterwards.

    A socket that idles for days would hold its request's headers three times, their parser, the answer's headers
    and a queue for requests: 3.3 KiB of 16, and 7 KiB for a browser with cookies (docs/decisions/05-memory.md).
    """
    protocol: Any = request.protocol
    if not has(Feature.HANDSHAKE) or not protocol._upgraded:
        # Only where everything goes to the WebSocket's own reader, the end of the connection included.
        return
    protocol._parser = None
    _empty(request._message)
    request._headers = _NO_HEADERS
    request._cache.clear()
    response.headers.clear()
    if not protocol._messages:
        protocol._messages = []  # no other request can come; an empty deque takes 760 bytes


def release_ended(socket: web.WebSocketResponse) -> None:
    """Free what a WebSocket that ended with an error still keeps."""
    reader: Any = socket._reader if has(Feature.ENDED) else None
    for error in (socket.exception(), reader and reader.exception()):
        forget_frames(error)


def forget_frames(error: BaseException | None) -> None:
    """Free the frames that an error came through, where aiohttp keeps the error.

    The frames refer to the connection, with the messages or the part of a body that it has read, and the connection
    refers to the error.
    """
    while error is not None:
        error.__traceback__, error = None, error.__context__


def forget_request(request: web.BaseRequest | None, task: "asyncio.Task[None]") -> None:
    """Free the frames of a request whose client has left; they and their errors keep each other alive.

    Reports what the task of its connection raised, unless that is only the end.
    """
    if request is not None:
        forget_frames(request.content.exception())
    try:
        task.result()
    except (asyncio.CancelledError, ConnectionError) as error:
        forget_frames(error)
    except BaseException as error:
        report("a connection could not be served", error)
        forget_frames(error)


def release_unconnected(handler: RequestHandler) -> None:
    """Free the handler of a connection whose TLS handshake failed; its parser refers to it."""
    if has(Feature.ENDED):
        handler._parser = None


def _empty(message: Any) -> None:
    """Leave of the parsed request what aiohttp looks at when the connection ends.

    Its own loop holds the message in a local variable, so that it can only be emptied where it is.
    """
    kept = (message.should_close, message.compression, message.upgrade, message.chunked, message.url)
    try:
        message.__init__(message.method, message.path, message.version, _NO_HEADERS, (), *kept)
    except TypeError:
        # Without its C parser aiohttp has a named tuple here, which stays as it is: 3 KiB more, nothing else.
        return
