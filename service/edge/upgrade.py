"""What aiohttp keeps of an upgrade request for as long as the WebSocket lives, and need not.

A socket that idles for days would hold its request's headers three times, their parser and the answer's
headers: 2.5 KiB of 16, and 6 KiB for a browser with cookies. aiohttp has no call for this, so this one
module touches what it keeps in private; its version is capped, and a test says when a name has gone.
docs/decisions/05-memory.md has the measurement.
"""

from typing import Any

from aiohttp import web

__all__ = ["let_go"]


def let_go(request: web.Request, response: web.WebSocketResponse) -> None:
    """Forget how the connection began; only afterwards nobody asks the request for anything."""
    protocol: Any = request.protocol
    # Everything goes to the WebSocket's own reader from here on, the end of the connection included.
    assert protocol._upgraded
    assert protocol._parser is not None
    protocol._parser = None
    request._cache.clear()
    response.headers.clear()
