"""The entrance: says what signals do during the start, then imports and runs the command line."""

import sys
from collections.abc import Sequence

from service.runtime.python_path import leave_current_folder

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed to run, 2 bad usage, 141 its reader has gone."""
    from service.ops.start_signals import start_signals

    given = sys.argv[1:] if arguments is None else arguments
    with start_signals(serving="serve" in given[:1]):
        # The imports are most of a start.
        from service.command_line import run_command

        return run_command(given)


if __name__ == "__main__":
    leave_current_folder()
    sys.exit(main())
