"""Hold many clients that do nothing, and see what that costs the server."""

from argparse import Namespace, _ArgumentGroup

from loadtest.context import WorkerContext
from loadtest.measures import Measures
from loadtest.pace import until
from loadtest.scenarios.connect import connect_counted

__all__ = ["HELP", "MEASURES", "add_options", "run", "validate"]

HELP = "hold N clients that do nothing: the server's memory, descriptors and CPU for them"
MEASURES = Measures()


def add_options(parser: _ArgumentGroup) -> None:
    """Declare the options: it has none of its own."""


def validate(options: Namespace) -> list[str]:
    """Return what is wrong."""
    return []


async def run(context: WorkerContext) -> None:
    """Connect, and do nothing for the duration."""
    options = context.options
    context.phase(f"connecting {options.clients:,} clients")
    clients = await connect_counted(context, context.mine(options.clients))
    begin = await context.begin()
    context.phase(f"holding {options.clients:,} idle clients")
    await until(begin + options.duration)
    await context.end()
    context.dismiss(clients)
