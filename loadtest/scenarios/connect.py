"""Connect many clients, as a storm or by a schedule, and hold them."""

from argparse import Namespace, _ArgumentGroup
from typing import Any

from loadtest.client import Client
from loadtest.context import CannotRun, Context
from loadtest.pace import open_model, until
from loadtest.schedule import dealt, parse_rate
from loadtest.sockets import ConnectFailed

__all__ = ["DEFAULTS", "HELP", "add_options", "run", "validate"]

HELP = "connect N clients, all at once or at --rate a second, and hold them: handshake times by phase"
DEFAULTS: dict[str, Any] = {"rate": ""}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--topic", default="", help="subscribe every client to this topic (default none)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return []


async def run(context: Context) -> None:
    """Connect, hold, and count who was dropped."""
    options, tally = context.options, context.tally
    tally.count("dropped", 0)
    numbers = context.mine(options.clients)
    if options.rate:
        context.phase(f"connecting {options.clients:,} clients at {options.rate} a second")
        begin = await context.begin()
        clients = await _by_schedule(context, begin)
    else:
        context.phase(f"connecting {options.clients:,} clients, {options.at_once:,} at a time")
        clients = await context.connect(numbers, options.at_once, prepare=lambda client: _enter(context, client))
        begin = await context.begin()
    context.phase(f"holding {options.clients:,} clients")
    await until(begin + options.duration)
    await context.end()
    context.dismiss(clients)


async def _enter(context: Context, client: Client) -> None:
    if context.options.topic:
        await context.target.subscribe(client.socket, context.options.topic)


async def _by_schedule(context: Context, begin: float) -> list[Client]:
    """Connect by the clock: what waits because the server is slow is part of ``connect``."""
    options, clients = context.options, list[Client]()

    async def one(number: int, due: float) -> None:
        try:
            client = await context.client(number, due=due)
            await _enter(context, client)
            clients.append(client)
        except ConnectFailed as error:
            context.tally.error(f"connect: {error}")

    # As long as it takes to have them all, at the rate's mean.
    mean = parse_rate(options.rate, 1.0)
    seconds = options.clients / sum(stage.area for stage in mean.stages)
    times = context.times(parse_rate(options.rate, seconds))
    share = dealt(times, context.crew.index, context.crew.count)
    await open_model(share, begin, one, lambda: context.tally.count("dropped_iterations"))
    if not clients:
        raise CannotRun(f"no client could connect to {options.url}: {', '.join(context.tally.errors)}")
    return clients
