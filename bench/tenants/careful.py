"""The careful client: ``python -m bench.tenants.careful PORT UPSTREAM``, its token in TOKEN.

It asks for 200 URLs a second at 20 hosts, watches 50 pages, publishes 20 messages a second with idempotency keys,
and opens a new connection 20 times a second. Times count from the moment that something was meant to happen. Each
line on standard input has it print one line of JSON: what it has seen since the line before.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.tenants.values import HOSTS, at

_URLS = 10
"""Of a batch; there are 20 a second."""
_EVERY = 0.05
_COMES = 0.05
"""Seconds between new connections: with five a second, the p99 of a row of 20 s was the longest of a hundred."""
_WATCHES = 50
_SELECTS = 10
"""Of the watches."""
_TOPIC = "orders"
_LATE = 5.0
"""Seconds from which a message or a poll is missing."""
_TIMED = frozenset({"echo", "shared"})


class Careful:
    """What it does, and what it has seen."""

    def __init__(self, port: int, upstream: int, session: aiohttp.ClientSession) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._upstream = upstream
        self._session = session
        self._took: dict[str, list[float]] = {}
        self._wrong: Counter[str] = Counter()
        self._serials: set[str] = set()
        self._missing: dict[str, float] = {}
        self._polled: dict[str, tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for step, every in ((self._fetch, _EVERY), (self._come, _COMES)):
            self._begin(self._steadily(step, every))
        self._begin(self._publish())
        self._begin(self._watch())

    def reported(self) -> dict[str, Any]:
        """Return what came since the last time, and forget it."""
        now = time.monotonic()
        for name, due in tuple(self._missing.items()):
            if now - due > _LATE:
                del self._missing[name]
                self._wrong["message missing"] += 1
        for topic, (count, last) in self._polled.items():
            if now - last > _LATE:
                self._wrong["watch silent"] += 1
                self._polled[topic] = (count, now)
        took, self._took = self._took, {}
        wrong, self._wrong = self._wrong, Counter()
        serials, self._serials = self._serials, set()
        return {"took": took, "wrong": wrong, "serials": sorted(serials)}

    def _begin(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._wrong[f"{type(error).__name__}: {error}"[:200]] += 1

    def _timed(self, what: str, since: float) -> None:
        self._took.setdefault(what, []).append((time.monotonic() - since) * 1000)

    async def _steadily(self, step: Callable[[int, float], Awaitable[None]], every: float) -> None:
        begin, number = time.monotonic(), 0
        while True:
            due = begin + number * every
            await asyncio.sleep(due - time.monotonic())
            self._begin(step(number, due))
            number += 1

    async def _fetch(self, number: int, due: float) -> None:
        """Have ten URLs fetched, and hold every answer against what it should be."""
        paths = [f"echo/{number}-{one}" for one in range(_URLS - 2)]
        paths += [f"shared/{number % 7}", f"private/{number % 3}"]
        asked = [at(self._upstream, number * _URLS + place, path) for place, path in enumerate(paths)]
        left = dict(enumerate(paths))
        headers = {"Accept": "application/x-ndjson"}
        async with self._session.post(f"{self._url}/fetch-batch", json={"urls": asked}, headers=headers) as answer:
            if answer.status != 200:
                self._wrong[f"fetch {answer.status}: {(await answer.text())[:150]}"] += 1
                return
            async for line in answer.content:
                event = orjson.loads(line)
                if event["event"] in ("result", "failed"):
                    self._check(event, left.pop(event["index"]), due)
        if left:
            self._wrong["URL without an event"] += len(left)

    def _check(self, event: dict[str, Any], path: str, due: float) -> None:
        kind, _, rest = path.partition("/")
        if event["event"] == "failed":
            self._wrong[f"{kind} failed: {event['error']}: {event['detail']}"[:200]] += 1
            return
        body = event["body"]
        if kind in _TIMED:
            self._timed("fetch", due)
            right = body == (f"echo {rest} for nobody" if kind == "echo" else f"shared {rest}")
        else:
            right = body.startswith("serial-") and event["headers"]["set-cookie"] == f"session={body}"
            self._serials.add(body)
        if not right or event["status"] != 200:
            self._wrong[f"{kind}: {event['status']} {str(body)[:60]}"] += 1

    async def _come(self, number: int, due: float) -> None:
        """Come as a new client, and ask for something."""
        async with self._session.ws_connect(f"{self._url}/ws", timeout=aiohttp.ClientWSTimeout(10)) as socket:
            await socket.send_str(_request(1, "subscribe", topic=f"new/{number % 10}"))
            if "error" in (answer := await socket.receive_json()):
                self._wrong[f"subscribe: {answer['error']}"[:200]] += 1
        self._timed("connect", due)

    async def _publish(self) -> None:
        """Publish with keys, each tenth twice, and read along."""
        sent: dict[int, tuple[str, float]] = {}
        offsets: dict[str, int] = {}
        async with self._session.ws_connect(f"{self._url}/ws") as socket:

            async def one(number: int, due: float) -> None:
                key = f"order-{number - number % 10 // 9}"
                sent[number] = (key, due)
                if key not in offsets:
                    self._missing[key] = due
                data = {"from": "careful", "key": key}
                await socket.send_str(_request(number, "publish", topic=_TOPIC, key=key, data=data))

            await socket.send_str(_request(-1, "subscribe", topic=_TOPIC))
            self._begin(self._steadily(one, _EVERY))
            async for message in socket:
                reported = orjson.loads(message.data)
                if reported.get("id", -1) >= 0:
                    key, due = sent.pop(reported["id"])
                    self._timed("publish", due)
                    if "error" in reported:
                        self._wrong[f"publish: {reported['error']}"[:200]] += 1
                    elif offsets.setdefault(key, reported["result"]["offset"]) != reported["result"]["offset"]:
                        self._wrong["published twice"] += 1
                elif reported.get("method") == "message":
                    self._heard(reported["params"]["data"])
                elif reported.get("method") == "gap":
                    self._wrong["gap"] += 1
        self._wrong[f"publisher closed: {socket.close_code}"] += 1

    def _heard(self, data: Any) -> None:
        if isinstance(data, dict) and data.get("from") == "careful":
            self._missing.pop(data["key"], None)

    async def _watch(self) -> None:
        """Watch pages that change at each poll; what counts is how long after one change the next is sent."""
        async with self._session.ws_connect(f"{self._url}/ws") as socket:
            for number in range(_WATCHES):
                url = at(self._upstream, number, f"watched/{number}")
                more = {"select": "#x"} if number < _SELECTS else {}
                await socket.send_str(_request(number, "watch", url=url, every=1, **more))
            async for message in socket:
                reported = orjson.loads(message.data)
                if "error" in reported:
                    self._wrong[f"watch: {reported['error']}"[:200]] += 1
                elif reported.get("method") == "message":
                    self._changed(reported["params"])
        self._wrong[f"watcher closed: {socket.close_code}"] += 1

    def _changed(self, reported: dict[str, Any]) -> None:
        if reported["data"]["event"] == "error":
            self._wrong[f"watch: {reported['data']['error']}: {reported['data']['detail']}"[:200]] += 1
        count, last = self._polled.get(reported["topic"], (0, 0.0))
        if count > 2:  # the second poll comes at a random phase
            self._timed("watch", last)
        self._polled[reported["topic"]] = (count + 1, time.monotonic())


def _request(number: int, method: str, **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


async def _main(port: int, upstream: int) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Queue[str]()

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(asked.put_nowait, line)
        loop.call_soon_threadsafe(asked.put_nowait, "")

    threading.Thread(target=listen, daemon=True).start()
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        careful = Careful(port, upstream, session)
        careful.start()
        print("ready", flush=True)
        while await asked.get():
            print(json.dumps(careful.reported()), flush=True)


if __name__ == "__main__":
    assert len(HOSTS) == 20
    uvloop.run(_main(*map(int, sys.argv[1:])))
