"""Hold many clients that do nothing, and see what that costs the server."""

from argparse import Namespace, _ArgumentGroup

from loadtest.context import Context
from loadtest.pace import until

__all__ = ["HELP", "add_options", "run", "validate"]

HELP = "hold N clients that do nothing: the server's memory, descriptors and CPU for them"


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options: it has none of its own."""


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return []


async def run(context: Context) -> None:
    """Connect, and do nothing for the duration."""
    options, tally = context.options, context.tally
    tally.count("dropped", 0)
    context.phase(f"connecting {options.clients:,} clients")
    clients = await context.connect(context.mine(options.clients), options.at_once)
    begin = await context.begin()
    context.phase(f"holding {options.clients:,} idle clients")
    await until(begin + options.duration)
    await context.end()
    context.dismiss(clients)
