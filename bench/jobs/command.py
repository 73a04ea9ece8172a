"""Jobs: through kills, in time, and in memory, beside Celery alone where it can do the same; docs/jobs.md."""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.durability.figure import Figure, measured_on, show
from bench.jobs import again, due, kills, memory, start, visibility
from bench.jobs.brokers import BROKERS
from bench.processes import raise_descriptors
from bench.reliability.table import Table

__all__ = ["FIGURES", "add_options", "run"]

_PARTS: Final[dict[str, Callable[[Namespace], Sequence[Figure]]]] = {
    "kills": kills.run,
    "due": due.run,
    "post": start.post_figures,
    "start": start.start_figures,
    "again": again.run,
    "memory": memory.run,
    "visibility": visibility.run,
}
_BY_NAME: Final = ("visibility",)
"""Parts that run only where they are named: they take minutes, in which nothing happens."""
FIGURES: Final = Table(
    "./x bench jobs --write docs/jobs.md",
    ("figure", "of", "sluice", "Celery alone", "bar", "", "run"),
    lambda name: list(_PARTS).index(name.split(":")[0]),
)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--only", action="append", choices=list(_PARTS), help="repeatable; default: all but visibility"
    )
    parser.add_argument("--port", type=int, default=18900, help="this one and the next six are used")
    parser.add_argument(
        "--celery", action="append", choices=BROKERS, help="kills and again: on Celery workers with this broker"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this document")
    for part in (kills, due, start, again, memory, visibility):
        part.add_options(parser)


def run(options: Namespace) -> dict[str, Any]:
    """Run the parts, print their rows, and return them."""
    raise_descriptors()
    # The services have core 0.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    where = measured_on()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, part in _PARTS.items():
        if name in (options.only or [one for one in _PARTS if one not in _BY_NAME]):
            begin = time.monotonic()
            rows = part(options)
            found[name] = [asdict(row) for row in rows]
            show(FIGURES, rows, where, options.write)
            print(f"  {name}: {time.monotonic() - begin:.0f} s", flush=True)
    return {"machine": where, "parts": found}
