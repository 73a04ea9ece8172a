"""The tables of states that docstrings of modules show: a row for each state, a column for each event."""

import re
from types import ModuleType

__all__ = ["transitions"]


def transitions(module: ModuleType, events: tuple[str, ...], states: str = "state") -> dict[tuple[str, str], str]:
    """Return the following state by state and event, empty where the event cannot happen.

    ``events`` are the columns that the table must have, ``states`` is what its first column is called.
    """
    assert module.__doc__ is not None
    (text,) = re.findall(rf"^ {{4}}{states} +\|.*\n(?: {{4}}.*\n)+", module.__doc__, re.MULTILINE)
    names, _, *rows = ([cell.strip() for cell in line.split("|")] for line in text.splitlines())
    assert tuple(names[1:]) == events
    return {(row[0], event): following for row in rows for event, following in zip(events, row[1:], strict=True)}
