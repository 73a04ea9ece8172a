"""The entrance: ``python -m loadtest``. It says in one line what is not installed, before anything imports it."""

import sys
from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = {"hdrh": "hdrhistogram", "psutil": "psutil", "rich": "rich"}
"""The modules of the extra ``loadtest``, and the packages that have them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 passed, 1 failed to run, 2 bad usage, 99 a threshold failed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["origin"]:
        # Without the imports of all scenarios it starts in a third of the time.
        from loadtest.origin.command import main as origin

        return origin(given[1:])
    from importlib.util import find_spec

    missing = [package for module, package in _EXTRA.items() if find_spec(module) is None]
    if missing:
        names = " and ".join(missing)
        print(f"loadtest: not installed: {names}; run pip install 'sluice[loadtest]'", file=sys.stderr)
        return 1
    from loadtest.command import main as command

    return command(given)


if __name__ == "__main__":
    # Modules of the folder that this is run in would hide ours, and Python's: nothing of either is imported above.
    if not sys.flags.safe_path and sys.path[0] != __file__.removesuffix("/loadtest/__main__.py"):
        del sys.path[0]
    sys.exit(main())
