"""Batches and a watch that go on while the service is killed, and what of them is not exact."""

import asyncio
import json
import random
from itertools import count
from typing import Any, Final

import aiohttp

from service.client import Backoff, Client, Restart, WatchState

__all__ = ["Batches", "Watched"]

_URLS: Final = 40
"""Of a batch: two rounds of as many as a host gets at once."""
_SLOW_MS: Final = 100
_AGAIN: Final = 0.02
_GLANCE: Final = 0.3
"""Seconds for which a batch is read at most without reaching its end."""


class Batches:
    """One batch after another, begun with ``respond-async``, and read before its end and after it."""

    def __init__(self, url: str, upstream: str) -> None:
        self.stopped = False
        self.begun = 0
        self.exact = 0
        self.forgotten = 0
        self._url = url
        self._upstream = upstream

    @property
    def summary(self) -> str:
        """How many were exact."""
        return f"{self.exact} of {self.begun}" + (f" ({self.forgotten} forgotten)" if self.forgotten else "")

    async def run(self) -> None:
        """Make batches until it is to stop."""
        async with aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(total=10)) as session:
            for number in count():
                if self.stopped:
                    return
                urls = [f"{self._upstream}/slow/{_SLOW_MS}?{number}-{one}" for one in range(_URLS)]
                batch = await self._begin(session, f"batch-{number}", urls)
                self.begun += 1
                before = await self._glance(session, batch)
                if await self._ended(session, batch):
                    events = await self._events(session, batch)
                    self.exact += _is_exact(events, urls) and events[: len(before)] == before

    async def _begin(self, session: aiohttp.ClientSession, key: str, urls: list[str]) -> str:
        headers = {"Prefer": "respond-async", "Idempotency-Key": f'"{key}"'}
        while True:
            try:
                async with session.post("/fetch-batch", json={"urls": urls}, headers=headers) as answer:
                    if answer.status in (200, 202):
                        return str((await answer.json())["batch"])
                    if answer.status not in (429, 503):
                        raise RuntimeError(f"a batch was answered {answer.status}: {await answer.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass  # the service was killed: it may have been begun or not
            await asyncio.sleep(_AGAIN)

    async def _glance(self, session: aiohttp.ClientSession, batch: str) -> list[Any]:
        """Return the events that a reader has had when it leaves, or is cut."""
        lines: list[bytes] = []
        path = f"/batches/{batch}/events"
        try:
            async with asyncio.timeout(random.uniform(0, _GLANCE)), session.get(path) as answer:
                if answer.status == 200:
                    async for line in answer.content:
                        lines.append(line)  # noqa: PERF401 - those of before the end are kept
        except (aiohttp.ClientError, TimeoutError):
            pass  # as it is meant
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    async def _ended(self, session: aiohttp.ClientSession, batch: str) -> bool:
        """Wait for the end of a batch; return whether the service has not forgotten it."""
        while True:
            try:
                async with session.get(f"/batches/{batch}") as answer:
                    if answer.status == 404:
                        self.forgotten += 1
                        return False
                    if answer.status == 200 and (await answer.json())["state"] == "done":
                        return True
            except (aiohttp.ClientError, TimeoutError):
                pass  # it is asked again
            await asyncio.sleep(_AGAIN)

    async def _events(self, session: aiohttp.ClientSession, batch: str) -> list[Any]:
        while True:
            try:
                async with session.get(f"/batches/{batch}/events") as answer:
                    if answer.status == 200:
                        return [json.loads(line) async for line in answer.content]
                    if answer.status == 404:
                        return []
            except (aiohttp.ClientError, TimeoutError):
                pass  # it is asked again
            await asyncio.sleep(_AGAIN)


def _is_exact(events: list[Any], urls: list[str]) -> bool:
    """Return whether every URL has one result and nothing else, and ``done`` is last and counts them."""
    if not events or events[-1].get("event") != "done" or events[-1]["ok"] != len(urls):
        return False
    results = [(event.get("index"), event.get("url")) for event in events[:-1] if event.get("event") == "result"]
    return len(events) == len(urls) + 1 and sorted(results) == list(enumerate(urls))


class Watched:
    """One watch of a document that changes every two seconds."""

    def __init__(self, url: str, upstream: str) -> None:
        self.states = 0
        self.wrong = 0
        self._url = url
        self._watched = f"{upstream}/etag/durability?period=2"

    @property
    def summary(self) -> str:
        """How many states came, and how many should not have."""
        return f"{self.states} states, {self.wrong} wrong"

    async def run(self) -> None:
        """Watch until cancelled."""
        last = ""
        async with Client(self._url, backoff=Backoff(0.02, 0.2)) as client:
            async for event in client.watch(self._watched, every=1.0):
                if isinstance(event, WatchState):
                    self.states += 1
                    self.wrong += event.sha256 == last
                    last = event.sha256
                else:
                    self.wrong += isinstance(event, Restart)
