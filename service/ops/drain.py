"""The end of the service: what runs may finish, and the rest is ended and notified."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from service.edge.routes.streams import Streams
from service.edge.websocket.endpoint import WebSockets
from service.jobs.jobs import Jobs
from service.sources.batches import Batches

__all__ = ["drain"]

_log = logging.getLogger("sluice")


async def drain(
    seconds: float,
    sockets: WebSockets,
    streams: Streams,
    batches: Batches,
    jobs: Jobs,
    pipelines: WebSockets,
    *,
    stop_listening: Callable[[], None],
    load: Callable[[], Mapping[str, int]],
) -> None:
    """Let what runs finish as far as the time goes, and end the rest; the callers refuse what is new.

    First half of the drain time: idle sockets go, spread out. At its end: what still runs fails as
    ``cancelled``, its readers get that and ``done``, and then they go too. Jobs that run then are begun again by
    the next service, as far as they are kept. Pipelines take nothing more from the beginning, and go when what is
    under way in them has come out.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + seconds
    _log.info("draining", extra={"seconds": seconds, **load()})
    streams.drain()
    pipelines.end_idle()
    # The streams of topics stay until the listener closes: see Streams.end.
    await sockets.announce_draining(retry_after=1.0)
    await sockets.release_idle(loop.time() + seconds / 2)
    while loop.time() < deadline and (
        sockets.connections or batches.running or jobs.running or pipelines.connections
    ):
        await asyncio.sleep(0.05)  # many things end a batch; a look now and then is simple and enough
        sockets.end_idle()
    left = load()
    batches.cancel_all()
    grace = loop.time() + 1.0
    while loop.time() < grace and sockets.behind:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)
    await asyncio.gather(sockets.close(), pipelines.close())
    stop_listening()
    streams.end()
    while loop.time() < grace and streams.readers:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)
    # What was left at the deadline was cancelled and closed: announced, but not served to its end.
    _log.info("drained", extra={"seconds": round(loop.time() - began, 3), **left})
