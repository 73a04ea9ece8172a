"""Connections on which no request is under way: kept alive, or come and never asked for anything.

aiohttp closes them in time by itself; where descriptors or memory are short they go at once. It has no call
that tells which they are, so this looks at what its own time-out looks at; a test says when that has gone.
"""

from typing import Any

from aiohttp import web

__all__ = ["close_unused"]


def close_unused(server: web.Server) -> int:
    """Close them and return how many they were."""
    closed = 0
    for handler in server.connections:
        waiter: Any = handler._waiter
        if waiter is not None and not waiter.done():
            handler.force_close()
            closed += 1
    return closed
