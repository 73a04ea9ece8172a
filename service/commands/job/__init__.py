"""``sluice job``: jobs of a running service from the terminal."""

from argparse import Namespace

from service.commands.job.options import add_options

__all__ = ["add_options", "run"]


def run(options: Namespace) -> int:
    """Run the command and return its exit code; what it needs is imported now."""
    from service.commands.job.command import run

    return run(options)
