"""Scenarios from files: ``loadtest ./mine.py``, or ``loadtest --scenario ./mine.py``."""

from argparse import Namespace, _ArgumentGroup
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from loadtest.measures import Measures
from loadtest.targets.blame import blame
from loadtest.targets.loading import module_from_file

__all__ = ["is_file", "load", "named", "scenario_file"]


def is_file(name: str) -> bool:
    """Return whether a scenario is a file and not one that comes with the load generator."""
    return name.endswith(".py")


def scenario_file(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the file that the arguments begin with, and the arguments with it in the place of a scenario."""
    first, *rest = arguments or [""]
    if first == "--scenario" and rest:
        first, rest = rest[0], rest[1:]
    elif first.startswith("--scenario="):
        first = first.partition("=")[2]
    return (first, [first, *rest]) if is_file(first) else ("", list(arguments))


def load(path: str) -> ModuleType:
    """Return the scenario of a file, with what it may leave out; raises ValueError."""
    try:
        module = module_from_file(Path(path))
    except FileNotFoundError:
        raise ValueError(f"--scenario: there is no file {path}") from None
    except Exception as error:
        raise ValueError(blame(error, path, None).replace("--target", "--scenario", 1)) from None
    if not callable(getattr(module, "run", None)):
        raise ValueError(f"--scenario: {path} has no function run(context)")
    for name, value in _OPTIONAL.items():
        if not hasattr(module, name):
            setattr(module, name, value)
    return module


def named(name: str) -> ModuleType:
    """Return a scenario as a worker gets it: by its module's name, or by its file."""
    return load(name) if is_file(name) else import_module(name)


def _no_options(parser: _ArgumentGroup) -> None:
    return None


def _nothing_wrong(options: Namespace) -> list[str]:
    return []


_OPTIONAL = {
    "HELP": "a scenario of your own",
    "MEASURES": Measures(),
    "add_options": _no_options,
    "validate": _nothing_wrong,
}
