"""Send, and wait for what comes back."""

from argparse import Namespace, _ArgumentGroup
from itertools import count
from time import monotonic
from typing import Any

from loadtest.context import WorkerContext
from loadtest.measures import Measures
from loadtest.sockets import ConnectFailed

__all__ = ["DEFAULTS", "HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "round trips at --rate a second over N clients: of a ping to a sluice service, of text to an echo server"
MEASURES = Measures(("round_trips",), ("round_trip",))
DEFAULTS: dict[str, Any] = {"rate": "1000"}


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options."""
    parser.add_argument("--size", type=int, default=64, help="bytes of a text (default 64)")


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return [] if 16 <= options.size <= 60_000 else ["--size: from 16 to 60000"]


async def run(context: WorkerContext) -> None:
    """Connect, and let one client after another make a round trip."""
    options, tally = context.options, context.tally
    context.phase(f"connecting {options.clients:,} clients")
    clients = await context.connect(context.mine(options.clients), options.at_once)

    def text(number: int) -> bytes:
        # A user of the closed model asks again and again: no two texts are the same.
        return f"{next(counter):09d}{number:06d}".ljust(options.size, ".").encode()

    counter = count()

    async def one(number: int, due: float) -> None:
        client = (
            clients[number // context.link.count % len(clients)]
            if options.model == "open"
            else clients[number % len(clients)]
        )
        try:
            await context.act(context.target.echo(client.socket, text(number)))
        except ConnectFailed as error:
            tally.error(str(error))
        else:
            tally.count("round_trips")
            tally.latency("round_trip", due, monotonic())

    begin = await context.begin()
    context.phase(
        f"{options.rate} round trips a second" if options.model == "open" else "round trips in a closed loop"
    )
    await context.load(begin, one)
    await context.end()
    context.dismiss(clients)
