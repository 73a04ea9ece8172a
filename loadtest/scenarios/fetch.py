"""Batches of URLs over HTTP, over WebSocket or both: every URL accounted for, once."""

import asyncio
from argparse import Namespace, _ArgumentGroup
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from loadtest.batch import BatchAccount, over_http, over_websocket
from loadtest.client import ClientContext
from loadtest.context import CannotRun, WorkerContext
from loadtest.measures import Measures
from loadtest.schedule import Schedule, constant, dealt, parse_rate
from loadtest.sockets import AnswerTimeout, ConnectFailed
from loadtest.tally import reasons

if TYPE_CHECKING:
    import aiohttp

__all__ = ["DEFAULTS", "HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "send batches of URLs over HTTP or WebSocket and account for every result"
MEASURES = Measures(
    (
        "fetched",
        "other_status",
        "failed",
        "missing",
        "cache_miss",
        "cache_hit",
        "cache_revalidated",
        "cache_shared",
    ),
    ("fetch", "result", "batch"),
    ("origin_requests", "origin_conditional", "origin_not_modified"),
)
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
    parser.add_argument(
        "--batch-timeout", type=float, default=300.0, help="seconds until a batch is given up (default 300)"
    )
    parser.add_argument("--same", action="store_true", help="all batches ask for the same URLs")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    names = ("urls", "batch_size", "concurrency", "batch_timeout")
    return [
        f"--{name.replace('_', '-')}: must be above 0" for name in names if not 0 < getattr(options, name) < inf
    ]


async def run(context: WorkerContext) -> None:
    """Send batches: all at once, or --rate a second."""
    options = context.options
    clients = [] if options.via == "http" else await context.connect(context.mine(options.clients), options.at_once)
    begin = await context.begin()
    sending = Sending(context, clients)
    await sending.run(begin)
    await context.end()
    context.dismiss(clients)


class Sending:
    """The batches of one run."""

    def __init__(self, context: WorkerContext, clients: list[ClientContext]) -> None:
        self._context = context
        self._options = context.options
        self._clients = clients
        self._unreached: list[str] = []
        """Why batches did not get to the service."""
        self._sent = 0

    async def run(self, begin: float) -> None:
        """Send them by the clock; raises CannotRun when none got to the service."""
        import aiohttp  # not before: it takes half of a worker's start, and the other scenarios do without

        context, options, endpoint = self._context, self._options, self._context.endpoint
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout)
        connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls or True)
        async with aiohttp.ClientSession(headers=endpoint.fields, timeout=timeout, connector=connector) as session:

            async def one(number: int, due: float) -> None:
                await self._send(number, due, session)

            schedule = _schedule(options)
            context.phase(f"sending {schedule.count:,} batches of {self._size(0):,} URLs")
            times = context.times(schedule) if options.rate else schedule.even()
            share = dealt(times, context.link.index, context.link.count)
            await context.by_clock(share, begin, one, size_of=self._size)
        if self._sent and len(self._unreached) == self._sent:
            raise CannotRun(f"no batch got to {options.url}: {reasons(self._unreached)}")

    def _size(self, number: int) -> int:
        """Return how many URLs a batch has."""
        size: int = self._options.batch_size
        return size if self._options.rate else min(size, self._options.urls - number * size)

    def _urls(self, number: int) -> list[str]:
        options = self._options
        first = 0 if options.same else number * options.batch_size
        sign = "&" if "?" in options.fetch_path else "?"
        return [f"{options.origin}{options.fetch_path}{sign}n={first + one}" for one in range(self._size(number))]

    async def _send(self, number: int, due: float, session: "aiohttp.ClientSession") -> None:
        import aiohttp

        context, tally = self._context, self._context.tally
        urls = self._urls(number)
        batch = BatchAccount(tally, urls, due)
        context.account.started(len(urls))
        self._sent += 1
        try:
            async with asyncio.timeout(self._options.batch_timeout):
                if self._clients and (self._options.via == "ws" or number % 2):
                    await over_websocket(context, self._clients[number % len(self._clients)], batch, urls)
                else:
                    await over_http(context, session, batch, urls)
        except aiohttp.ClientConnectorError as error:
            tally.error(f"fetch: {error}")
            self._unreached.append(str(error))
        except (AnswerTimeout, TimeoutError) as error:
            tally.error(f"fetch: {error or 'the batch did not end in its time'}")
            context.account.unanswered(batch.missing)
        except (aiohttp.ClientError, ConnectFailed) as error:
            tally.error(f"fetch: {error or type(error).__name__}")
        batch.close()
        context.account.made(batch.results)
        tally.duration("batch", monotonic() - due)


def _schedule(options: Namespace) -> Schedule:
    if options.rate:
        return parse_rate(options.rate, options.duration)
    # All at once: so fast that nobody could tell.
    return constant(1e6, -(-options.urls // options.batch_size) / 1e6)
