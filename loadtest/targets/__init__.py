"""The servers that can be driven, by what ``--target`` takes."""

from importlib import import_module

from loadtest.targets.base import Position, Target
from loadtest.targets.echo import Echo
from loadtest.targets.nchan import Nchan
from loadtest.targets.sluice import Sluice

__all__ = ["TARGETS", "Position", "Target", "target_of"]

TARGETS: dict[str, type[Target]] = {"sluice": Sluice, "echo": Echo, "nchan": Nchan}


def target_of(text: str) -> type[Target]:
    """Return the adapter of a name, or of ``module:Class`` for somebody's own; raises ValueError."""
    if text in TARGETS:
        return TARGETS[text]
    module, _, name = text.partition(":")
    if not name:
        raise ValueError(f"--target: {text!r} is neither {', '.join(TARGETS)} nor like my_module:MyTarget")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--target: {text}: {error}; modules are looked for here and in PYTHONPATH") from None
    if not (isinstance(found, type) and issubclass(found, Target)):
        raise ValueError(f"--target: {text} is no subclass of loadtest.targets.Target")
    return found
