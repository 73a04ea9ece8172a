"""The main job, proved: the service and the origin as child processes, and a full house."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp

from loadtest.context import CannotRun, Context
from loadtest.scenarios.broadcast import Audience, broadcast
from loadtest.scenarios.fetch import fetch_batch
from loadtest.sockets import Socket

__all__ = ["HELP", "add_options", "run", "sockets", "validate"]

HELP = "start the service and an origin; 10,000 clients, 10,000 URLs and broadcasts to all, at once"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--urls", type=int, default=10_000, help="URLs to fetch (default 10000)")
    parser.add_argument("--rate", type=float, default=10.0, help="broadcasts a second (default 10)")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message's data, about (default 150)")
    parser.add_argument("--settle", type=float, default=20.0, help="most seconds to wait for the last (default 20)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return [f"--{name}: must be above 0" for name in ("urls", "rate") if getattr(options, name) <= 0]


def sockets(options: Namespace) -> int:
    """Return how many sockets it needs."""
    return int(options.clients) + 20


async def run(context: Context) -> None:
    """Start both, connect everyone, then fetch and broadcast at the same time."""
    options, report = context.options, context.report
    async with _child("loadtest", "origin", "--port", "0") as origin:
        port = origin.rsplit(":", 1)[1]
        more = ["--websockets", str(max(10_000, options.clients))]
        async with _child(
            "service", "serve", "--port", "0", "--allow-net", "127.0.0.0/8", "--allow-port", port, *more
        ) as options.url:
            audience = Audience(report)
            clients = await context.connect(options.clients, 500, lambda socket: audience.join(socket, "demo"))
            if not clients:
                raise CannotRun(f"no client could connect: {', '.join(report.errors)}")
            await _work(context, audience, origin, clients[0])
            report.count("held", sum(not socket.closed for socket in clients))
            for socket in clients:
                socket.close()
            await asyncio.sleep(0.2)
    _verdict(context)


async def _work(context: Context, audience: Audience, origin: str, publisher: Socket) -> None:
    urls = [f"{origin}/bytes/1024?n={number}" for number in range(context.options.urls)]
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(broadcast(context, audience, ["demo"], publisher))
        group.create_task(fetch_batch(context, session, urls, 100))


def _verdict(context: Context) -> None:
    """Say as thresholds what makes the demo a success."""
    options = context.options
    published = context.report.counters.get("published", 0)
    options.threshold += [
        f"connected=={options.clients}",
        f"held=={options.clients}",
        f"fetched=={options.urls}",
        f"published=={round(options.rate * options.duration)}",
        f"delivered=={published * options.clients:.0f}",
        "lost==0", "gapped==0", "repeated==0", "reordered==0", "errors==0",
    ]  # fmt: skip


@asynccontextmanager
async def _child(module: str, *arguments: str) -> AsyncIterator[str]:
    """Run a module as a child process; yield the address that it says it listens on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        if "listening on" not in line:
            raise CannotRun(f"{module} {arguments[0]} did not start")
        yield line.split("listening on", 1)[1].strip()
    finally:
        if process.returncode is None:
            process.terminate()
            began = monotonic()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
            if monotonic() - began > 19:
                print(f"{module} did not stop by itself", file=sys.stderr)  # noqa: T201


def summary(context: Context) -> list[str]:
    """Return what the demo shows, a line each."""
    figures = context.report.figures()
    get = figures.get
    return [
        f"clients connected and held   {get('held', 0):>10,.0f} of {context.options.clients:,}",
        (
            f"messages delivered           {get('delivered', 0):>10,.0f}, lost {get('lost', 0):.0f}, "
            f"out of order {get('reordered', 0):.0f}, repeated {get('repeated', 0):.0f}"
        ),
        f"delivery p50 / p99           {get('delivery_p50_ms', 0):>10,.0f} / {get('delivery_p99_ms', 0):,.0f} ms",
        (
            f"URLs fetched                 {get('fetched', 0):>10,.0f} of {context.options.urls:,}"
            f" in {get('batch_max_ms', 0) / 1000:.1f} s"
        ),
        *(f"report                       {path}" for path in (context.options.html, context.options.json) if path),
    ]
