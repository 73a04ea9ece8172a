"""One round of the kills: jobs of all kinds are made, some twice, some cancelled, and followed to their ends."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from bench.jobs.account import Account, Asked

__all__ = ["KINDS", "TOPIC", "Effects", "Round", "read_marks"]

KINDS: Final = ("run", "publish", "call", "fetch")
TOPIC: Final = "kills"
_AGAIN: Final = 0.05
_LATEST: Final = 1.5
"""Seconds until a job is due, at most."""
_CANCELLED: Final = 0.1
_TWICE: Final = 0.1
"""Shares of the jobs that are cancelled, and asked for twice."""
_AT_ONCE: Final = 20
_PATIENCE: Final = 300.0
"""Seconds within which a job has to end: an attempt whose task is lost is offered again after 30 s, then 60 s."""


class Effects:
    """A server that takes calls and fetches for effects; close it."""

    def __init__(self, account: Account) -> None:
        self.port = 0
        self._account = account
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen on a free port."""
        application = web.Application()
        application.router.add_route("*", "/{name}", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _take(self, request: web.Request) -> web.Response:
        self._account.effect(request.match_info["name"], time.time())
        return web.Response(text="ok")

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()


class Round:
    """Jobs of one round; ``file`` takes the marks of functions, ``upstream`` is the address of the effects."""

    def __init__(self, number: int, url: str, upstream: str, file: Path, account: Account) -> None:
        self._number = number
        self._upstream = upstream
        self._file = file
        self._account = account
        self._session = aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=_PATIENCE))
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def ask(self, count: int, chance: random.Random) -> None:
        """Make jobs, and cancel some."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                name = f"{self._number}-{number}"
                kind = KINDS[number % len(KINDS)]
                delay = chance.choice((0.0, chance.uniform(0.0, _LATEST)))
                twice, cancelled = chance.random() < _TWICE, chance.random() < _CANCELLED
                if cancelled and chance.random() < 0.5:
                    delay = 600.0  # it would begin long after its cancel
                pause = chance.uniform(0.0, 0.5)
                group.create_task(self._live(name, kind, delay, pause if cancelled else None, twice=twice))

    async def _live(self, name: str, kind: str, delay: float, cancel: float | None, *, twice: bool) -> None:
        due = time.time() + delay
        job = self._account.jobs[name] = Asked(kind, due - 0.001)
        body = {**self._work(name, kind), "at": _written(due), "key": name, "retries": 50}
        for _ in range(1 + twice):
            job.ids.add(str((await self._asked("POST", "/jobs", body))["job"]))
        if cancel is not None:
            await asyncio.sleep(cancel)
            answer = await self._asked("DELETE", f"/jobs/{min(job.ids)}", None)
            if answer["cancelled"]:
                job.cancelled, job.stopping = time.time(), answer["state"] == "running"

    def _work(self, name: str, kind: str) -> dict[str, Any]:
        works: dict[str, Any] = {
            "run": {"name": "mark", "args": [str(self._file), name]},
            "publish": {"topic": TOPIC, "data": name},
            "call": {"url": f"{self._upstream}/{name}"},
            "fetch": {"urls": [f"{self._upstream}/{name}"]},
        }
        return {kind: works[kind]}

    async def _asked(self, method: str, path: str, body: Any) -> Any:
        """Ask again and again until there is an answer."""
        while True:
            try:
                async with self._places, self._session.request(method, path, json=body) as answer:
                    if answer.status in (200, 202):
                        return await answer.json()
                    if answer.status not in (429, 503):
                        raise RuntimeError(f"{method} {path} was answered {answer.status}: {await answer.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass  # the service was killed
            await asyncio.sleep(_AGAIN)

    async def follow(self) -> None:
        """Read the events of all jobs until they have ended."""
        names = [name for name in self._account.jobs if name.startswith(f"{self._number}-")]
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._follow(self._account.jobs[name]))

    async def _follow(self, job: Asked) -> None:
        """Read all events of a job; it has none if it is lost."""
        with suppress(TimeoutError):
            async with self._places, asyncio.timeout(_PATIENCE):
                events = await self._events(f"/jobs/{min(job.ids)}/events")
                job.events = [event["event"] for event in events if "event" in event]
                job.error = next(
                    (event["error"] for event in reversed(events) if event.get("event") == "failed"), ""
                )

    async def _events(self, path: str) -> list[Any]:
        """Read to the end of the job, from the beginning each time that the service is killed."""
        while True:
            try:
                async with self._session.get(path) as answer:
                    if answer.status not in (429, 503):
                        return [json.loads(line) for line in (await answer.text()).splitlines()]
            except aiohttp.ClientError:
                pass  # the service was killed
            await asyncio.sleep(_AGAIN)


def read_marks(file: Path, take: Callable[[str, float], None]) -> None:
    """Record the lines that functions have written."""
    if file.exists():
        for line in file.read_text().splitlines():
            name, at, _ = json.loads(line)
            take(name, at)


def _written(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1e6):06}Z"
