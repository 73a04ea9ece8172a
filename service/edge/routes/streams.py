"""Topics over plain HTTP: NDJSON and server-sent events (WHATWG HTML, section 9.2).

A stream is a reader like a WebSocket's subscription, with the same positions, gaps and policies; only
that its own handler fetches what is new, so that a slow peer holds nothing but its place in the topic.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

import orjson
from aiohttp import HttpVersion11, hdrs, web

from service.core.errors import Draining, InvalidParams
from service.core.overload import heaviest
from service.core.owner import Owner
from service.core.sessions.messages import parse_since
from service.core.topics.hub import Hub
from service.core.topics.topic import OnLag, Position, Since, Start, Topic
from service.core.topics.wire import Encoding
from service.edge.access.credentials import GRANT, OWNER
from service.edge.access.expiries import Expiries
from service.edge.http.answers import NDJSON, SSE, wants_sse
from service.edge.http.queries import LAST_EVENT_IDS
from service.edge.routes.large_writes import LARGE, write_parts
from service.edge.routes.pull_reader import PullReader
from service.runtime.containment import contain
from service.runtime.per_turn import PerTurn

__all__ = [
    "STREAMS",
    "Streams",
    "requested_lag",
    "requested_since",
    "stream_events",
    "stream_topic",
]

_TOGETHER: Final = 0.005
"""Seconds in which what comes shares a write: a write is 25 us, a fifth of what a small fetch costs in all."""
_TURN: Final = 512 << 10
"""Bytes of large messages that are written or parsed in one turn of the loop, of all responses together: 0.3 ms, or
one message that is parsed."""
_RETRY: Final = (1000, 5000)
"""Milliseconds after which an EventSource comes back: at random, lest all that were cut together meet."""
_HEARTBEATS: Final = {Encoding.SSE: b": heartbeat\n\n"}
_HEARTBEAT: Final = b'{"event":"heartbeat"}\n'


class Streams:
    """Every response that streams a topic now, so that a drain can end them."""

    def __init__(self, heartbeat: float = 25.0) -> None:
        self.heartbeat = heartbeat
        self.expiries = Expiries()
        self.draining = False
        self.readers: set[PullReader] = set()
        self.large = PerTurn(_TURN, LARGE)
        """For bytes of large messages; small ones do not wait."""

    def __repr__(self) -> str:
        return f"<Streams {len(self.readers)}>"

    def drain(self) -> None:
        """Take no new streams; those under way go on until :meth:`end`."""
        self.draining = True

    def check_newcomer(self, since: Since, epoch: str | None = None, *, sse: bool) -> None:
        """Raise Draining in a drain, but not for an EventSource that comes back: a 503 would end it for good."""
        returns = sse and isinstance(since, Position) and epoch in (None, since.epoch)
        if self.draining and not returns:
            raise Draining("the service is shutting down")

    def end(self) -> None:
        """End the streams that have no end of their own, and cut those of jobs, which may be due in a year.

        An EventSource comes back when its stream ends, and gives up for good on any answer but 200. So this comes
        when the listener has closed: a connection that is refused it tries again.
        """
        for reader in tuple(self.readers):
            if not reader.topic.name.startswith("batch:"):
                # An answer that is complete would say that the job has ended.
                job = reader.topic.name.startswith("job:")
                contain("a stream could not be ended", reader.evict if job else reader.end)

    def shed(self) -> int:
        """Cut the heaviest of those whose peer does not take what was written; return how many."""
        heavy = heaviest([reader for reader in self.readers if reader.held], lambda reader: reader.held)
        for reader in heavy:
            contain("a stream could not be cut", reader.evict)
        return len(heavy)


STREAMS: Final = web.AppKey("streams", Streams)


def requested_since(request: web.Request, default: Since) -> Since:
    """Return where the client wants to start.

    The last event id wins over ``since``, because an EventSource comes back with the URL that it began with: the
    header, which browsers send, then the query parameters of polyfills, the last of them where there are several.
    A blank one does not count.
    """
    last = request.headers.get("Last-Event-ID", "").strip()
    for name in LAST_EVENT_IDS:
        last = last or next(filter(None, map(str.strip, reversed(request.query.getall(name, ())))), "")
    since = request.query.get("since")
    asked = parse_since(since) if since is not None else default
    return parse_since(last) if last else asked


def requested_lag(request: web.Request, default: OnLag = OnLag.DISCONNECT) -> OnLag:
    """Return the client's policy for lagging."""
    name = request.query.get("on_lag")
    if name is None:
        return default
    try:
        return OnLag(name)
    except ValueError:
        raise InvalidParams(f"on_lag: one of {', '.join(OnLag)}") from None


async def stream_topic(
    request: web.Request,
    hub: Hub,
    topic: Topic,
    *,
    since: Since,
    on_lag: OnLag = OnLag.DISCONNECT,
    batch: bool = False,
    sse: bool | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with the topic's messages from ``since`` on, until the client leaves or the topic has ended.

    NDJSON, or SSE where the client accepts it or ``sse`` says so; ``batch`` leaves out the start line, so that
    the Nth line with an event is offset N. An EventSource that comes back after the end gets 204, which stops it.
    HEAD is answered with the headers alone.
    """
    streams = request.app[STREAMS]
    sse = wants_sse(request) if sse is None else sse
    if topic.limits is not None:
        streams.check_newcomer(since, topic.epoch, sse=sse)
    if sse and topic.final and topic.start(since).position == topic.position:
        return web.Response(status=204, headers=headers)
    response = _response(sse, headers)
    if request.method == hdrs.METH_HEAD:
        return response
    encoding = Encoding.SSE if sse else Encoding.EVENTS if batch else Encoding.LINES
    reader = PullReader(topic, encoding, on_lag, request.transport)
    # Attached before the first await: the stream begins where the topic stands now.
    start = hub.attach(reader, since)
    try:
        streams.readers.add(reader)
        streams.expiries.set(reader, request[GRANT].until)
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        await response.prepare(request)
        reader.direct = response.chunked and not batch
        if sse or not batch:
            # The line belongs to the event that comes next.
            await response.write((_retry() if sse else b"") + (b"" if batch else _start(start, sse=sse)))
        await _pump(response, reader, streams, request[OWNER])
        if request.transport is not None and not request.transport.is_closing():
            await response.write_eof()
    finally:
        reader.detach()
        streams.readers.discard(reader)
        streams.expiries.discard(reader)
    return response


async def stream_events(
    request: web.Request, hub: Hub, topic: Topic, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer with the events of a batch or job from where the client wants to start, by default all of them."""
    since, on_lag = requested_since(request, "oldest"), requested_lag(request)
    headers = {**(headers or {}), "Sluice-Epoch": topic.epoch}
    return await stream_topic(request, hub, topic, since=since, on_lag=on_lag, batch=True, headers=headers)


def _response(sse: bool, headers: Mapping[str, str] | None) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type = SSE if sse else NDJSON
    response.headers["Cache-Control"] = "no-store"
    # nginx, and proxies that follow it, pass each piece on as it comes.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _retry() -> bytes:
    return b"retry: %d\n" % random.randint(*_RETRY)  # noqa: S311 - not a secret


def _start(start: Start, *, sse: bool) -> bytes:
    position = start.position
    fields = {"epoch": position.epoch, "offset": position.offset, "recovered": start.recovered}
    if sse:
        return b"id: %b\nevent: start\ndata: %b\n\n" % (str(position).encode(), orjson.dumps(fields))
    return orjson.dumps({"event": "start", **fields}) + b"\n"


async def _pump(response: web.StreamResponse, reader: PullReader, streams: Streams, owner: Owner) -> None:
    """Write what is new until the topic ends; each write waits for the peer."""
    beat = _HEARTBEATS.get(reader.encoding, _HEARTBEAT)
    while reader.behind or not reader.ended:
        parts = reader.read_parts()
        size = sum(map(len, parts))
        if size > LARGE:
            reader.unwritten = size
            async for written in write_parts(response, parts, streams.large, owner):
                reader.unwritten -= written
        elif size:
            await response.write(b"".join(parts))
            if not reader.ended:
                await asyncio.sleep(_TOGETHER)
        elif (reader.loading or not reader.ended) and not await reader.wait(streams.heartbeat):
            await response.write(beat)
