"""Batches of URLs over HTTP, over WebSocket or both: every URL accounted for, once."""

from argparse import Namespace, _ArgumentGroup
from time import monotonic
from typing import Any

import aiohttp

from loadtest.batch import Batch, over_http, over_websocket
from loadtest.client import Client
from loadtest.context import Context
from loadtest.pace import open_model
from loadtest.schedule import Schedule, constant, dealt, parse_rate
from loadtest.sockets import ConnectFailed

__all__ = ["DEFAULTS", "HELP", "add_options", "run", "validate"]

HELP = "send batches of URLs over HTTP or WebSocket and account for every result"
DEFAULTS: dict[str, Any] = {"rate": "", "clients": 10}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--origin", default="http://127.0.0.1:9000", help="upstream; `loadtest origin` is one")
    parser.add_argument(
        "--via", choices=("http", "ws", "both"), default="http", help="how batches are sent (default http)"
    )
    parser.add_argument("--fetch-path", default="/bytes/1024", help="what to fetch there (default /bytes/1024)")
    parser.add_argument("--urls", type=int, default=10_000, help="URLs in all, without a --rate (default 10000)")
    parser.add_argument("--batch-size", type=int, default=10_000, help="URLs of one batch (default 10000)")
    parser.add_argument("--concurrency", type=int, default=100, help="fetches at once of a batch (default 100)")
    parser.add_argument("--same", action="store_true", help="all batches ask for the same URLs")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    names = ("urls", "batch_size", "concurrency")
    return [f"--{name.replace('_', '-')}: must be above 0" for name in names if getattr(options, name) <= 0]


async def run(context: Context) -> None:
    """Send batches: all at once, or --rate a second."""
    options = context.options
    clients = [] if options.via == "http" else await context.connect(context.mine(options.clients), options.at_once)
    begin = await context.begin()
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    endpoint = context.endpoint
    connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls or True)
    async with aiohttp.ClientSession(headers=endpoint.fields, timeout=timeout, connector=connector) as session:

        async def one(number: int, due: float) -> None:
            await _send(context, number, due, session, clients)

        schedule = _schedule(options)
        context.phase(f"sending {schedule.count:,} batches of {min(options.batch_size, options.urls):,} URLs")
        times = dealt(context.times(schedule), context.crew.index, context.crew.count)
        await open_model(times, begin, one, lambda: context.tally.count("dropped_iterations"))
    await context.end()
    for client in clients:
        client.leave()


def _schedule(options: Namespace) -> Schedule:
    if options.rate:
        return parse_rate(options.rate, options.duration)
    # All at once: so fast that nobody could tell.
    return constant(1e6, -(-options.urls // options.batch_size) / 1e6)


async def _send(
    context: Context, number: int, due: float, session: aiohttp.ClientSession, clients: list[Client]
) -> None:
    options, tally = context.options, context.tally
    size = options.batch_size
    if not options.rate:
        size = min(size, options.urls - number * size)
    first = 0 if options.same else number * options.batch_size
    sign = "&" if "?" in options.fetch_path else "?"
    urls = [f"{options.origin}{options.fetch_path}{sign}n={first + one}" for one in range(size)]
    batch = Batch(tally, len(urls), due)
    try:
        if clients and (options.via == "ws" or number % 2):
            await over_websocket(context, clients[number % len(clients)], batch, urls)
        else:
            await over_http(context, session, batch, urls)
    except (aiohttp.ClientError, ConnectFailed, TimeoutError) as error:
        tally.error(f"fetch: {error or type(error).__name__}")
    batch.close()
    tally.duration("batch", monotonic() - due)
