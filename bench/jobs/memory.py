"""The memory of a service with very many jobs that are due much later, and how long it takes to start on them."""

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from bench.durability.figure import Figure, data_folder
from bench.jobs.figure import Service
from bench.jobs.filling import fill, scheduled
from bench.processes import settle

__all__ = ["add_options", "run"]

_MIB = 1 << 20
_BAR = 300


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--scheduled", type=int, default=100_000, help="jobs that are kept (the issue: 1,000,000)")


def run(options: Namespace) -> list[Figure]:
    """Start a service on a directory with jobs, each with a key, and on an empty one."""
    count = options.scheduled
    with data_folder() as folder:
        empty, empty_s = _started(options.port, folder / "empty")
        now = time.time()
        jobs = (
            scheduled(row, now + 3600 + row / 10, now, topic="t", data={"order": row}, key=f"order-{row}")
            for row in range(1, count + 1)
        )
        fill(folder / "many" / "full", jobs)
        resident, seconds = _started(options.port, folder / "many")
        size = sum(file.stat().st_size for file in (folder / "many" / "full").iterdir())
    return [
        Figure(
            "memory: service and slots", f"{count:,} jobs with keys, due later",
            f"{resident / _MIB:.0f} MiB ({empty / _MIB:.0f} without jobs)", bar=f"{_BAR} MiB",
            held=resident <= _BAR * _MIB,
        ),
        Figure("memory: on disk", "bytes of a job", f"{size / count:.0f}"),
        Figure("memory: start", "seconds until it listens", f"{seconds:.1f} ({empty_s:.1f} without jobs)"),
    ]  # fmt: skip


def _started(port: int, folder: Path) -> tuple[int, float]:
    """Return the memory of a service on a folder, and how long it took to start."""
    begin = time.monotonic()
    service = Service(port, folder, "--jobs-size", str(16 << 30))
    seconds = time.monotonic() - begin
    try:
        settle(service.child)
        return service.child.resident(), seconds
    finally:
        service.stop()
