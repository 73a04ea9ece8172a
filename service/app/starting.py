"""Answers while the service starts: it is alive, and not ready yet.

A data directory with a million jobs takes seconds to read. Without this, clients that ask meanwhile would be
refused a connection, as if the service did not run.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from service.config.settings import Settings, tls_context
from service.core.ports import Clock
from service.edge.http.acceptor import Acceptor
from service.edge.http.runner import HttpRunner
from service.edge.routes.health import starting_application
from service.runtime.containment import end_task

__all__ = ["answering"]

_SOON: Final = 1.0
"""Seconds for which clients wait instead: nearly all starts take less."""
_MOST: Final = 100
"""Connections."""


@asynccontextmanager
async def answering(settings: Settings, listeners: Sequence[socket.socket], clock: Clock) -> AsyncIterator[None]:
    """Answer requests from a second after the block began until it is left."""
    task = asyncio.get_running_loop().create_task(_answer(settings, listeners, clock), name="starting")
    try:
        yield
    finally:
        await end_task("health checks could not be answered during the start", task)


async def _answer(settings: Settings, listeners: Sequence[socket.socket], clock: Clock) -> None:
    await asyncio.sleep(_SOON)
    runner = HttpRunner(starting_application(), Counter(), None, keepalive_timeout=settings.handshake_time)
    # The service itself uses the sockets afterwards: only the copies are closed.
    acceptor = Acceptor(
        await runner.start(), [listener.dup() for listener in listeners], most=_MOST, tls=tls_context(settings),
        tls_time=settings.handshake_time, clock=clock,
    )  # fmt: skip
    acceptor.start()
    try:
        await asyncio.Event().wait()
    finally:
        acceptor.close()
        await runner.close()
