"""What aiohttp keeps of an upgrade request for as long as the WebSocket lives, and need not.

A socket that idles for days would hold its request's headers three times, their parser and the answer's
headers: 2.5 KiB of 16, and 6 KiB for a browser with cookies. aiohttp has no call for this, so this one
module touches what it keeps in private; its version is capped, and a test says when a name has gone.
docs/decisions/05-memory.md has the measurement.
"""

from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["release_handshake_state"]

_NO_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())


def release_handshake_state(request: web.Request, response: web.WebSocketResponse) -> None:
    """Forget how the connection began; only afterwards nobody asks the request for anything."""
    protocol: Any = request.protocol
    # Everything goes to the WebSocket's own reader from here on, the end of the connection included.
    assert protocol._upgraded
    assert protocol._parser is not None
    protocol._parser = None
    _empty(request._message)
    request._headers = _NO_HEADERS
    request._cache.clear()
    response.headers.clear()


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
