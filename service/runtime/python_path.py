"""Where processes of ours find modules.

Python looks first in the folder that ``python -m`` is run in. That is the user's, and may have a ``service`` or a
``json.py`` of its own, so processes of ours are started by ``start_module.py``, which leaves that folder out.
Modules that the operator names are found there too, but after all others. This module imports only what Python has
imported before.
"""

import os
import sys
from collections.abc import MutableMapping, Sequence

__all__ = ["command", "environment", "find_modules_here", "leave_current_folder", "take_over"]

_START = os.path.join(os.path.dirname(__file__), "start_module.py")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_PATH = "_SLUICE_PATH"
"""The variable with the folders in which the process that starts another one finds modules."""


def command(module: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command that runs a module of ours in a new process; ``options`` are Python's."""
    return [sys.executable, "-P", *options, _START, module, *arguments]


def environment() -> dict[str, str]:
    """Return the environment of such a process: ours, and it finds the modules that we find."""
    return {**os.environ, _PATH: os.pathsep.join(filter(None, sys.path))}


def take_over(environ: MutableMapping[str, str]) -> None:
    """Find what the process that started this one finds, after all that is found anyway."""
    given = environ.pop(_PATH, "").split(os.pathsep)
    sys.path.extend(folder for folder in given if folder and folder not in sys.path)


def leave_current_folder() -> None:
    """Find no modules in the folder that this is run in, if it was put first, unless sluice itself is there."""
    if sys.path and not sys.flags.safe_path and sys.path[0] in ("", _here()) and sys.path[0] != _ROOT:
        del sys.path[0]


def find_modules_here() -> None:
    """Find the operator's modules in the folder that this is run in, after all others."""
    here = _here()
    if here and here not in sys.path:
        sys.path.append(here)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""
