"""What an operator does with a data directory: ``sluice backup``, ``restore``, ``check`` and ``export``."""

from argparse import Namespace

from service.commands.data.options import COMMANDS, add_parsers

__all__ = ["COMMANDS", "add_parsers", "run"]


def run(options: Namespace) -> int:
    """Run one of the commands and return its exit code; their help lists the codes."""
    # Here, because the other commands start faster without SQLite.
    from service.commands.data.command import run as run_command

    return run_command(options)
