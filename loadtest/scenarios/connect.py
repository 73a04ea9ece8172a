"""Connect many clients, as a storm or by a schedule, and hold them."""

from argparse import Namespace, _ArgumentGroup
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from loadtest.client import ClientContext
from loadtest.context import CannotRun, WorkerContext
from loadtest.measures import Measures
from loadtest.pace import until
from loadtest.schedule import dealt, parse_rate
from loadtest.sockets import ConnectFailed
from loadtest.tally import reasons

__all__ = ["DEFAULTS", "HELP", "MEASURES", "add_options", "connect_counted", "run", "validate"]

HELP = "connect N clients, all at once or at --rate a second, and hold them: handshake times by phase"
MEASURES = Measures()
DEFAULTS: dict[str, Any] = {"rate": ""}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--topic", default="", help="subscribe every client to this topic (default none)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return []


async def run(context: WorkerContext) -> None:
    """Connect, hold, and count who was dropped."""
    options = context.options
    numbers = context.mine(options.clients)
    if options.rate:
        context.phase(f"connecting {options.clients:,} clients at {options.rate} a second")
        begin = await context.begin()
        clients = await _by_schedule(context, begin)
    else:
        context.phase(f"connecting {options.clients:,} clients, {options.at_once:,} at a time")
        clients = await connect_counted(context, numbers, lambda client: _enter(context, client))
        begin = await context.begin()
    context.phase(f"holding {options.clients:,} clients")
    await until(begin + options.duration)
    await context.end()
    context.dismiss(clients)


async def connect_counted(
    context: WorkerContext,
    numbers: Sequence[int],
    prepare: Callable[[ClientContext], Awaitable[None]] | None = None,
) -> list[ClientContext]:
    """Connect clients whose connections are themselves the load; raises CannotRun."""
    await context.start()
    context.account.intended(len(numbers))
    context.account.started(len(numbers))
    clients = await context.connect(numbers, context.options.at_once, prepare=prepare)
    context.account.made(len(clients))
    return clients


async def _enter(context: WorkerContext, client: ClientContext) -> None:
    if context.options.topic:
        await context.target.subscribe(client.socket, context.options.topic)


async def _by_schedule(context: WorkerContext, begin: float) -> list[ClientContext]:
    """Connect by the clock: what waits because the server is slow is part of ``connect``."""
    options, clients, failed = context.options, list[ClientContext](), list[str]()

    async def one(number: int, due: float) -> None:
        context.account.started()
        try:
            client = await context.client(number, due=due)
            clients.append(client)
            await context.answered(_enter(context, client))
            context.account.made()
        except ConnectFailed as error:
            context.tally.error(f"connect: {error}")
            failed.append(f"connect: {error}")

    # As long as it takes to have them all, at the rate's mean.
    mean = parse_rate(options.rate, 1.0)
    seconds = options.clients / sum(stage.area for stage in mean.stages)
    times = context.times(parse_rate(options.rate, seconds))
    share = dealt(times, context.link.index, context.link.count)
    await context.by_clock(share, begin, one)
    if not clients and failed:
        raise CannotRun(f"no client could connect to {options.url}: {reasons(failed)}")
    return clients
