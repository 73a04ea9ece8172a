"""Work: steps, pipelines and counting, each beside how one would write it by hand; docs/choosing.md."""

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.durability.figure import Figure, measured_on, show
from bench.processes import raise_descriptors
from bench.reliability.table import Table
from bench.work import count, faces, pictures, save, thumbnails

__all__ = ["FIGURES", "PARTS", "add_options", "run"]

_PORT: Final = 18700
PARTS: Final = {"save": save, "thumbnails": thumbnails, "count": count, "faces": faces}
_RUNS: Final[dict[str, Callable[[Namespace], Iterator[Figure]]]] = {name: part.run for name, part in PARTS.items()}
_MISSING: Final[dict[str, Callable[[], str | None]]] = {
    "save": pictures.missing, "thumbnails": pictures.missing, "faces": faces.missing, "count": lambda: None,
}  # fmt: skip
FIGURES: Final = Table(
    "./x bench work --write docs/choosing.md",
    ("figure", "of", "sluice", "beside it", "bar", "", "run"),
    lambda name: list(PARTS).index(name.split(":")[0]),
)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--only", action="append", choices=list(PARTS), help="repeatable; default: all parts")
    parser.add_argument("--rounds", type=int, default=3, help="of what is measured by turns (default 3)")
    parser.add_argument("--port", type=int, default=_PORT, help="this one and the one after it are used")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this document")
    for part in PARTS.values():
        part.add_options(parser)


def run(options: Namespace) -> dict[str, Any]:
    """Run the parts, print their rows, and return them."""
    raise_descriptors()
    # A run that is ended ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    where = measured_on()
    found: dict[str, list[dict[str, Any]]] = {}
    for name, part in _RUNS.items():
        if options.only is not None and name not in options.only:
            continue
        if (missing := _MISSING[name]()) is not None:
            print(f"bench: without {name}: install {missing}", file=sys.stderr)
            continue
        found[name] = []
        for figure in part(options):
            found[name].append(asdict(figure))
            show(FIGURES, [figure], where, options.write)
    return {"machine": where, "parts": found}
