"""Lines of the tables and how they are shown, and the services that are compared."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final, Protocol

from bench.processes import Child
from bench.reliability.table import Table, machine

__all__ = ["FULL", "MEMORY", "NORMAL", "Figure", "Kind", "data_folder", "measured_on", "show"]

_ROOT: Final = Path(".bench").absolute()


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, and what it is compared with."""

    name: str
    """With its part before a colon; it stays the same when sizes change, so that a run replaces the one before."""
    load: str
    found: str
    control: str = ""
    """The peer's figure in the same run: a service without a data directory, Celery alone, or code written by
    hand."""
    bar: str = ""
    held: bool | None = None
    """Whether the bar was held; None where there is none."""

    def cells(self, run: str) -> list[str]:
        """Return its row in the table."""
        verdict = "" if self.held is None else "held" if self.held else "**missed**"
        return [self.name, self.load, self.found, self.control, self.bar, verdict, run]


class _Line(Protocol):
    def cells(self, run: str) -> list[str]:
        """Return its row in the table."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to run the service; ``sync`` is None for one that keeps nothing."""

    name: str
    sync: str | None

    def start(self, port: int, folder: Path, *options: str, module: str = "service") -> Child:
        """Start it on core 0 and return when it listens; its data is in a folder below that one."""
        child = self.spawn(port, folder, *options, module=module)
        child.line()
        return child

    def spawn(self, port: int, folder: Path, *options: str, module: str = "service") -> Child:
        """Start it and return at once; ``module`` is one with the options of the service's."""
        kept = () if self.sync is None else ("--data", str(folder / self.sync), "--sync", self.sync)
        return Child([sys.executable, "-m", module, "serve", "--port", str(port), *kept, *options], core=0)


MEMORY: Final = Kind("memory", None)
FULL: Final = Kind("--sync full", "full")
NORMAL: Final = Kind("--sync normal", "normal")


@contextmanager
def data_folder() -> Iterator[Path]:
    """Yield a folder on the disk that the checkout is on, and delete it with all that is in it."""
    _ROOT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-", dir=_ROOT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _sync_ms(folder: Path, count: int = 100) -> float:
    """Return the milliseconds that the disk takes for 4 KiB that are appended and synchronised (fdatasync)."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(count):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    (folder / "probe").unlink()
    return median(times) * 1000


def measured_on() -> str:
    """Describe the machine and the disk, and how busy the machine is before the run."""
    with data_folder() as folder:
        return f"{machine()}, fdatasync {_sync_ms(folder):.2f} ms, load {os.getloadavg()[0]:.1f} before"


def show(table: Table, lines: Sequence[_Line], where: str, document: Path | None) -> None:
    """Print lines, and put them into their table of a document at once, because a later measurement may fail."""
    cells = [line.cells(f"{datetime.now(UTC):%Y-%m-%d}") for line in lines]
    for row in cells:
        print("  " + " | ".join(row), flush=True)
    if document is not None:
        table.write(document, cells, where)
