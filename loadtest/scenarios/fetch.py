"""Batches of URLs over HTTP: every URL accounted for, once."""

import asyncio
from argparse import ArgumentParser, Namespace
from time import monotonic

import aiohttp
import orjson

from loadtest.context import CannotRun, Context

__all__ = ["HELP", "add_options", "fetch_batch", "run", "sockets", "validate"]

HELP = "send batches of URLs to /fetch-batch and account for every result"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--origin", default="http://127.0.0.1:9000", help="upstream; `loadtest origin` is one")
    parser.add_argument("--path", default="/bytes/1024", help="what to fetch there (default /bytes/1024)")
    parser.add_argument("--urls", type=int, default=10_000, help="URLs in all (default 10000)")
    parser.add_argument("--batch-size", type=int, default=10_000, help="URLs of one batch (default 10000)")
    parser.add_argument("--concurrency", type=int, default=100, help="fetches at once of a batch (default 100)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    names = ("urls", "batch_size", "concurrency")
    return [f"--{name.replace('_', '-')}: must be above 0" for name in names if getattr(options, name) <= 0]


def sockets(options: Namespace) -> int:
    """Return how many sockets it needs."""
    return -(-int(options.urls) // int(options.batch_size)) + 10


async def run(context: Context) -> None:
    """Send all batches at once."""
    options = context.options
    urls = [f"{options.origin}{options.path}?n={number}" for number in range(options.urls)]
    parts = [urls[at : at + options.batch_size] for at in range(0, len(urls), options.batch_size)]
    context.phase = f"fetching {len(urls):,} URLs in {len(parts)} batches"

    async def all_parts() -> None:
        async with aiohttp.ClientSession(headers=context.headers) as session, asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(fetch_batch(context, session, part, options.concurrency))

    await context.ticking(all_parts(), dict)


async def fetch_batch(context: Context, session: aiohttp.ClientSession, urls: list[str], concurrency: int) -> None:
    """Send one batch and check that each index comes once, and ``done`` last with the right counts."""
    report, began = context.report, monotonic()
    seen = bytearray(len(urls))
    done = None
    body = {"urls": urls, "options": {"concurrency": concurrency}}
    headers = {"Accept": "application/x-ndjson"}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    try:
        url = f"{context.options.url}/fetch-batch"
        async with session.post(url, json=body, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                raise CannotRun(f"/fetch-batch answered {response.status}: {(await response.text())[:200]}")
            async for line in response.content:
                event = orjson.loads(line)
                if done is not None:
                    report.error("an event after done")
                if event["event"] == "done":
                    done = event
                elif event["event"] in ("result", "failed"):
                    _one(context, event, seen, began)
    except aiohttp.ClientError as error:
        report.error(f"fetch-batch: {error or type(error).__name__}")
    missing = len(urls) - sum(seen)
    report.count("missing", missing)
    if done is None or done["ok"] + done["failed"] != len(urls):
        report.error("no done with the right counts")
    report.latency("batch").record((monotonic() - began) * 1000)


def _one(context: Context, event: dict[str, object], seen: bytearray, began: float) -> None:
    report, index = context.report, event["index"]
    assert isinstance(index, int)
    if seen[index]:
        report.error("an index twice")
    seen[index] = 1
    if event["event"] == "failed":
        report.count("failed")
        report.error(f"fetch: {event['error']}")
        return
    report.count("fetched" if event["status"] == 200 else "other_status")
    timing = event["timing"]
    assert isinstance(timing, dict)
    report.latency("fetch").record(timing["total"])
    report.latency("result").record((monotonic() - began) * 1000)
