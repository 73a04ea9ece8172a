"""One batch of URLs: sent over HTTP or WebSocket, and each of its events accounted for."""

import asyncio
from collections import defaultdict
from time import monotonic
from typing import Any

import aiohttp
import orjson

from loadtest.client import Client
from loadtest.context import CannotRun, Context
from loadtest.sockets import ConnectFailed, Socket
from loadtest.tally import Tally
from loadtest.targets.sluice import Sluice

__all__ = ["Batch", "over_http", "over_websocket"]

_SILENCE = 60.0


class Batch:
    """The account of one batch: each index once, ``done`` last, with the right counts."""

    def __init__(self, tally: Tally, total: int, due: float) -> None:
        # A batch that is sent at the very begin would be all warm-up: its results are durations.
        self._tally = tally
        self._seen = bytearray(total)
        self._due = due
        self.done: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Take one event."""
        if self.done is not None:
            self._tally.error("an event after done")
        if event["event"] == "done":
            self.done = event
        elif event["event"] in ("result", "failed"):
            self._one(event)

    def _one(self, event: dict[str, Any]) -> None:
        tally, index = self._tally, event["index"]
        if self._seen[index]:
            tally.error("an index twice")
        self._seen[index] = 1
        if event["event"] == "failed":
            tally.count("failed")
            tally.error(f"fetch: {event['error']}")
            return
        tally.count("fetched" if event["status"] == 200 else "other_status")
        tally.count(f"cache_{event['cache']}")
        tally.duration("fetch", event["timing"]["total"] / 1000)
        tally.duration("result", monotonic() - self._due)

    def close(self) -> None:
        """Count what never came."""
        self._tally.count("missing", len(self._seen) - sum(self._seen))
        if self.done is None or self.done["ok"] + self.done["failed"] != len(self._seen):
            self._tally.error("no done with the right counts")


async def over_http(context: Context, session: aiohttp.ClientSession, batch: Batch, urls: list[str]) -> None:
    """POST it to ``/fetch-batch`` and read its lines; raises aiohttp.ClientError and CannotRun."""
    body = {"urls": urls, "options": {"concurrency": context.options.concurrency}}
    async with session.post(
        f"{context.endpoint.base}/fetch-batch", json=body, headers={"Accept": "application/x-ndjson"}
    ) as response:
        if response.status in (401, 403, 404, 413, 422):
            raise CannotRun(f"/fetch-batch answered {response.status}: {(await response.text())[:200]}")
        if response.status != 200:
            context.tally.error(f"fetch-batch: {response.status} {response.reason}")
            return
        async for line in response.content:
            batch.take(orjson.loads(line))


async def over_websocket(context: Context, client: Client, batch: Batch, urls: list[str]) -> None:
    """Call ``fetch`` and take its messages; raises ConnectFailed and TimeoutError."""
    target = context.target
    if not isinstance(target, Sluice):
        raise ConnectFailed("this target fetches nothing")
    streams = client.batches = client.batches or _Streams(client, target)
    options = {"concurrency": context.options.concurrency}
    answer = await target.call(client.socket, "fetch", urls=urls, options=options)
    await streams.read(answer["topic"], batch)


class _Streams:
    """The batches of one connection, each on a topic of its own; the first events come before one knows which."""

    def __init__(self, client: Client, target: Sluice) -> None:
        self._target = target
        self._events: dict[str, asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        client.socket.on_text = self._received

    def _received(self, socket: Socket, payload: bytes) -> None:
        message = orjson.loads(payload)
        if message.get("method") == "message":
            self._events[message["params"]["topic"]].put_nowait(message["params"]["data"])
        else:
            self._target.received(socket, payload)

    async def read(self, topic: str, batch: Batch) -> None:
        """Hand on the events of a topic until ``done``."""
        try:
            while batch.done is None:
                async with asyncio.timeout(_SILENCE):
                    batch.take(await self._events[topic].get())
        finally:
            self._events.pop(topic, None)
