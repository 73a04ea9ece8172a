"""Durability: what --data keeps through kills and what it costs, beside the memory store and other stores."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.durability import kills, large, peers, publish, readers, recovery
from bench.durability.figure import Figure, measured_on, show
from bench.processes import raise_descriptors
from bench.reliability.table import Table

__all__ = ["FIGURES", "PEERS", "add_options", "run"]

_PARTS: Final = {
    "kills": kills,
    "large": large,
    "publish": publish,
    "readers": readers,
    "recovery": recovery,
    "peers": peers,
}
_RUNS: Final[dict[str, Callable[[Namespace], Sequence[Figure | peers.Row]]]] = {
    name: part.run for name, part in _PARTS.items()
}
FIGURES: Final = Table(
    "./x bench durability --write docs/performance.md",
    ("figure", "of", "with `--data`", "without", "bar", "", "run"),
    lambda name: list(_PARTS).index(name.split(":")[0]),
)
PEERS: Final = Table(
    "./x bench durability --only peers --write docs/performance.md",
    ("store", "an answer means; client", "messages/s", "batch: p50, p99, ms", "CPU us a message", "run"),
    lambda name: 0,
)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--only", action="append", choices=list(_PARTS), help="repeatable; default: all parts")
    parser.add_argument("--rounds", type=int, default=5, help="of what is measured by turns")
    parser.add_argument("--port", type=int, default=18900, help="this one and the nine after it are used")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the tables of this document")
    for part in _PARTS.values():
        part.add_options(parser)


def run(options: Namespace) -> dict[str, Any]:
    """Run the parts, print their rows, and return them."""
    raise_descriptors()
    # The services have core 0.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    where = measured_on()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, part in _RUNS.items():
        if options.only is None or name in options.only:
            rows = part(options)
            found[name] = [asdict(row) for row in rows]
            show(PEERS if name == "peers" else FIGURES, rows, where, options.write)
    return {"machine": where, "parts": found}
