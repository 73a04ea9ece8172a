"""Clients that come and go all the time, while a number of them is held."""

from argparse import Namespace, _ArgumentGroup
from collections import deque
from typing import Any

from loadtest.context import WorkerContext
from loadtest.measures import Measures
from loadtest.sockets import ConnectFailed

__all__ = ["DEFAULTS", "HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "hold N clients of which the oldest leaves and a new one comes, --rate times a second"
MEASURES = Measures(("exchanged",))
DEFAULTS: dict[str, Any] = {"rate": "100"}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--topic", default="", help="subscribe every client to this topic (default none)")
    parser.add_argument("--rude", action="store_true", help="leave by a reset instead of a close frame")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return [] if options.rate else ["--rate: needed"]


async def run(context: WorkerContext) -> None:
    """Hold, and exchange one after another by the clock."""
    options, tally = context.options, context.tally
    context.phase(f"connecting {options.clients:,} clients")
    clients = deque(await context.connect(context.mine(options.clients), options.at_once))

    async def one(number: int, due: float) -> None:
        if clients:
            oldest = clients.popleft()
            oldest.cut() if options.rude else oldest.leave()
        context.account.started()
        try:
            client = await context.client(number, due=due)
            clients.append(client)
            if options.topic:
                await context.answered(context.target.subscribe(client.socket, options.topic))
            tally.count("exchanged")
            context.account.made()
        except ConnectFailed as error:
            tally.error(f"connect: {error}")

    begin = await context.begin()
    context.phase(f"exchanging {options.rate} clients a second")
    await context.load(begin, one)
    await context.end()
    context.dismiss(clients)
