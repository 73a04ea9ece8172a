"""``sluice fetch``: a batch from the terminal, by the engine of the service, without a server."""

from argparse import Namespace

from service.commands.fetch.options import add_options

__all__ = ["add_options", "fetch"]


def fetch(options: Namespace) -> int:
    """Run the command and return its exit code; docs/fetch.md lists them."""
    # Here, because the other commands start faster without the engine.
    from service.commands.fetch.command import fetch as run

    return run(options)
