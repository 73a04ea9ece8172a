"""One batch of URLs: sent over HTTP or WebSocket, and each of its events accounted for."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from loadtest.client import ClientContext
from loadtest.context import CannotRun, WorkerContext
from loadtest.sockets import AnswerTimeout, ConnectFailed, Socket
from loadtest.tally import Tally
from loadtest.targets.sluice import Sluice

if TYPE_CHECKING:
    import aiohttp

__all__ = ["BatchAccount", "over_http", "over_websocket"]

T = TypeVar("T")

_SILENT_ANSWERS = 3
"""How many times as long as an answer a batch may be silent: its fetches have time limits of their own."""
_CACHES = frozenset({"miss", "hit", "revalidated", "shared"})


class BatchAccount:
    """The account of one batch: each index once, ``done`` last, with the right counts."""

    def __init__(self, tally: Tally, urls: list[str], due: float) -> None:
        # A batch that is sent at the very begin would be all warm-up: its results are durations.
        self._tally = tally
        self._urls = urls
        self._seen = bytearray(len(urls))
        self._due = due
        self.done: dict[str, Any] | None = None
        self.results = 0
        """URLs that were answered, with any status."""

    @property
    def missing(self) -> int:
        """URLs of which nothing is known yet."""
        return len(self._seen) - sum(self._seen)

    def add(self, event: dict[str, Any]) -> None:
        """Take one event."""
        try:
            self._add(event)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self._tally.error(f"an event that makes no sense: {type(error).__name__}: {error}")

    def _add(self, event: dict[str, Any]) -> None:
        if self.done is not None:
            self._tally.error("an event after done")
        if event["event"] == "done":
            self.done = event
        elif event["event"] in ("result", "failed"):
            self._one(event)

    def _one(self, event: dict[str, Any]) -> None:
        tally, index = self._tally, event["index"]
        if not 0 <= index < len(self._seen) or event["url"] != self._urls[index]:
            tally.error("an event of an index or a URL that was not asked for")
            return
        if self._seen[index]:
            tally.error("an index twice")
        self._seen[index] = 1
        if event["event"] == "failed":
            tally.count("failed")
            tally.error(f"fetch: {event['error']}")
            return
        tally.count("fetched" if event["status"] == 200 else "other_status")
        self.results += 1
        if event["cache"] in _CACHES:
            tally.count(f"cache_{event['cache']}")
        tally.duration("fetch", event["timing"]["total"] / 1000)
        tally.duration("result", monotonic() - self._due)

    def close(self) -> None:
        """Count what never came."""
        self._tally.count("missing", self.missing)
        if self.done is None or self.done.get("ok", 0) + self.done.get("failed", 0) != len(self._seen):
            self._tally.error("no done with the right counts")


async def over_http(
    context: WorkerContext, session: "aiohttp.ClientSession", batch: BatchAccount, urls: list[str]
) -> None:
    """POST it to ``/fetch-batch`` and read its lines; raises aiohttp.ClientError and CannotRun."""
    body = {"urls": urls, "options": {"concurrency": context.options.concurrency}}
    endpoint, accept = context.endpoint, {"Accept": "application/x-ndjson"}
    asking = session.post(
        endpoint.url("/fetch-batch"),
        json=body,
        headers=accept,
        server_hostname=endpoint.http_server_name,
        allow_redirects=False,
    )
    # What a batch has no answer for is counted by its URLs.
    response = await context.answered(asking, size=0)
    async with response:
        if response.status in (401, 403, 404, 413, 422):
            raise CannotRun(f"/fetch-batch answered {response.status}: {(await response.text())[:200]}")
        if response.status != 200:
            context.tally.error(f"fetch-batch: {response.status} {response.reason}")
            return
        while line := await _next(response.content.readline(), context):
            batch.add(_event(line))


async def over_websocket(
    context: WorkerContext, client: ClientContext, batch: BatchAccount, urls: list[str]
) -> None:
    """Call ``fetch`` and take its messages; raises ConnectFailed and TimeoutError."""
    target = context.target
    if not isinstance(target, Sluice):
        raise ConnectFailed("this target fetches nothing")
    streams = client.batches = client.batches or _Streams(client, target)
    options = {"concurrency": context.options.concurrency}
    answer = await context.answered(target.call(client.socket, "fetch", urls=urls, options=options), size=0)
    await streams.read(answer["topic"], batch, context)


def _event(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = orjson.loads(line)
    except ValueError:
        return {"event": "a line that is not JSON"}
    return event


async def _next(waiting: Awaitable[T], context: WorkerContext) -> T:
    """Await the next event; raises AnswerTimeout when a batch is silent for too long."""
    seconds = _SILENT_ANSWERS * context.options.answer_timeout
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError:
        raise AnswerTimeout(f"the batch was silent for {seconds:g} s") from None


class _Streams:
    """The batches of one connection, each on a topic of its own; the first events come before one knows which."""

    def __init__(self, client: ClientContext, target: Sluice) -> None:
        self._target = target
        self._events: dict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        client.socket.on_text = self._received

    def _received(self, socket: Socket, payload: bytes) -> None:
        message = orjson.loads(payload)
        if message.get("method") == "message":
            self._events[message["params"]["topic"]].put_nowait(message["params"]["data"])
        else:
            self._target.received(socket, payload)

    async def read(self, topic: str, batch: BatchAccount, context: WorkerContext) -> None:
        """Hand on the events of a topic until ``done``."""
        try:
            while batch.done is None:
                batch.add(await _next(self._events[topic].get(), context))
        finally:
            self._events.pop(topic, None)
