"""``sluice count``: how often each key comes in the lines of files, by processes of this machine."""

from argparse import Namespace

from service.commands.count.options import add_options

__all__ = ["add_options", "count"]


def count(options: Namespace) -> int:
    """Run the command and return its exit code; its help lists the codes."""
    # Here, because the other commands start faster without it.
    from service.commands.count.command import count as run

    return run(options)
