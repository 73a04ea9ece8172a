"""One large batch that is killed again and again: every URL has its whole body once, and memory stays bounded."""

import asyncio
import hashlib
import json
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.durability.figure import FULL, Figure, data_folder
from bench.processes import Child

__all__ = ["add_options", "run"]

_BODY: Final = 100 << 10
_READ: Final = 1 << 20
_PATIENCE: Final = 900
_SLICE: Final = 8
"""Parts of the batch, of which the first ones have a kill each."""
_BEFORE: Final = 50
"""Events that are read before a kill, to be compared with those at the end."""
_MEMORY: Final = 1 << 30
"""What the service may take at its peak: the shared memory for batches, and as much again."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--large-urls", type=int, default=10_000, help="of the large batch, 100 KiB each")
    parser.add_argument("--large-kills", type=int, default=5)


@dataclass
class _Run:
    """The outcome."""

    seconds: float = 0.0
    peaks: list[int] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    done_at: list[int] = field(default_factory=list)
    """Events that were stored when a kill came."""
    size: int = 0
    wrong: int = 0
    changed: int = 0
    fetched: int = 0


def run(options: Namespace) -> list[Figure]:
    """Run the batch, kill the service, read all of it; return the figures."""
    with data_folder() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_killed(options, folder))
    urls = options.large_urls
    load = f"{urls:,} URLs of 100 KiB, killed after {', '.join(map(str, found.done_at))} events"
    again, peak = found.fetched - urls, max(found.peaks)
    return [
        Figure(
            "large: wrong or missing events", load, f"{found.wrong}, {found.changed} changed", bar="0",
            held=found.wrong + found.changed == 0,
        ),
        Figure("large: fetched again", "answers that a kill has lost", f"{again} of {urls:,}"),
        Figure(
            "large: memory", "the most of any life", f"{peak / 2**20:.0f} MiB", bar=f"{_MEMORY >> 20} MiB",
            held=peak <= _MEMORY,
        ),
        Figure("large: time", "from the request to the last event, with all starts", f"{found.seconds:.0f} s"),
        Figure("large: start after a kill", "longest", f"{max(found.starts_s):.2f} s"),
        Figure("large: disk", "all files at the end", f"{found.size / 2**20:.0f} MiB"),
    ]  # fmt: skip


async def _killed(options: Namespace, folder: Path) -> _Run:
    found, chance = _Run(), random.Random()
    origin = Child([sys.executable, "-m", "loadtest", "origin", "--port", "0"], core=1)
    child: Child | None = None
    try:
        upstream = origin.line().split()[-1]
        argv = ("--allow-net", "127.0.0.0/8", "--allow-port", upstream.rsplit(":", 1)[1])
        urls = [f"{upstream}/bytes/{_BODY}?{number}" for number in range(options.large_urls)]
        child = await asyncio.to_thread(FULL.start, options.port, folder, *argv)
        begin = time.monotonic()
        url = f"http://127.0.0.1:{options.port}"
        async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession(url, read_bufsize=_READ) as session:
            batch = await _begin(session, urls)
            before: list[str] = []
            for number in range(options.large_kills):
                share = (number + chance.random()) / max(options.large_kills, _SLICE)
                found.done_at.append(await _reached(session, batch, int(share * len(urls))))
                before = await _digests(session, batch, _BEFORE, before, found)
                found.peaks.append(child.peak())
                child.kill()
                started = time.monotonic()
                child = await asyncio.to_thread(FULL.start, options.port, folder, *argv)
                found.starts_s.append(time.monotonic() - started)
            await _reached(session, batch, len(urls) + 1)
            found.seconds = time.monotonic() - begin
            await _check(session, batch, urls, before, found)
            found.peaks.append(child.peak())
            found.size = sum(file.stat().st_size for file in (folder / "full").iterdir())
            async with session.get(f"{upstream}/ledger") as answer:
                found.fetched = (await answer.json(content_type=None))["kinds"]["bytes"]
        return found
    finally:
        for one in (child, origin):
            if one is not None:
                one.stop(30)


async def _begin(session: aiohttp.ClientSession, urls: list[str]) -> str:
    body = {"urls": urls, "options": {"cache": "no-store", "timeout": 300, "retries": 3}}
    async with session.post("/fetch-batch", json=body, headers={"Prefer": "respond-async"}) as answer:
        if answer.status != 202:
            raise RuntimeError(f"the batch was answered {answer.status}: {await answer.text()}")
        return str((await answer.json())["batch"])


async def _reached(session: aiohttp.ClientSession, batch: str, count: int) -> int:
    """Wait until a batch has ``count`` events, the last one too; return how many it has."""
    while True:
        async with session.get(f"/batches/{batch}") as answer:
            state: dict[str, Any] = await answer.json()
        has = int(state["ok"] + state["failed"] + (state["state"] == "done"))
        if has >= count:
            return has
        await asyncio.sleep(0.02)


async def _digests(
    session: aiohttp.ClientSession, batch: str, count: int, before: list[str], found: _Run
) -> list[str]:
    """Return the digests of the first events, and count those that are not what they were."""
    lines: list[str] = []
    async with session.get(f"/batches/{batch}/events") as answer:
        while len(lines) < count and (line := await _line(answer)):
            lines.append(hashlib.sha256(line).hexdigest())
        answer.close()
    found.changed += sum(one != other for one, other in zip(before, lines, strict=False))
    return lines if len(lines) > len(before) else before


async def _line(answer: aiohttp.ClientResponse) -> bytes:
    """Return the next event; nothing at the end."""
    while line := await answer.content.readuntil(b"\n"):
        if not line.startswith(b'{"event":"heartbeat"'):
            return line
    return b""


async def _check(
    session: aiohttp.ClientSession, batch: str, urls: list[str], before: list[str], found: _Run
) -> None:
    """Read all events: each URL has its body once, and ``done`` is last and counts them."""
    seen, lines = bytearray(len(urls)), 0
    event: dict[str, Any] = {}
    async with session.get(f"/batches/{batch}/events") as answer:
        while line := await _line(answer):
            if lines < len(before):
                found.changed += hashlib.sha256(line).hexdigest() != before[lines]
            lines += 1
            event = json.loads(line)
            if event["event"] == "result" and event["url"] == urls[event["index"]] and len(event["body"]) == _BODY:
                seen[event["index"]] += 1
    done = event.get("event") == "done" and event["ok"] == len(urls) and lines == len(urls) + 1
    found.wrong = sum(count != 1 for count in seen) + (not done)
