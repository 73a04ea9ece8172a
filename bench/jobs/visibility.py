"""How often jobs run that are due later, or take longer, than the visibility timeout of Redis."""

import time
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from bench.durability.figure import Figure, data_folder
from bench.jobs import brokers, celery_alone
from bench.jobs.celery_alone import SHORT
from bench.jobs.figure import Requests
from bench.jobs.places import OnCelery

__all__ = ["add_options", "run"]

_NAMES: Final = ("is due later", "takes long")
_AFTER: Final = 20.0
"""Seconds for a second run to begin."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--later", type=float, default=125.0, help="seconds of visibility (default 125)")


def run(options: Namespace) -> list[Figure]:
    """Run both jobs here and with Celery alone, at the same time, and count how often they began."""
    if lacking := brokers.missing("redis") or celery_alone.missing():
        return [Figure(f"visibility: runs of a job that {_NAMES[0]}", "", f"not measured: {lacking}")]
    later = options.later
    with data_folder() as folder, ExitStack() as stack:
        place = OnCelery("redis", options.port, folder, options.port, "bench.jobs.visible_worker")
        stack.callback(place.stop)
        alone, _ = stack.enter_context(celery_alone.workers("redis", options.port + 4, folder / "alone"))
        with closing(Requests(options.port)) as requests:
            _make(requests, folder, later)
        celery_alone.send(alone, "stamp", str(folder / f"theirs-{_NAMES[0]}"), 0.0, countdown=later)
        celery_alone.send(alone, "take", str(folder / f"theirs-{_NAMES[1]}"), 0.0, later)
        time.sleep(later + _AFTER)
        return [_figure(folder, name, later) for name in _NAMES]


def _make(requests: Requests, folder: Path, later: float) -> None:
    first, second = (str(folder / f"ours-{name}") for name in _NAMES)
    requests.make({"run": {"name": "stamp", "args": [first, 0.0]}, "delay": later})
    requests.make({"run": {"name": "take", "args": [second, 0.0, later]}})


def _figure(folder: Path, name: str, later: float) -> Figure:
    ours, theirs = (_begun(folder / f"{whose}-{name}") for whose in ("ours", "theirs"))
    return Figure(
        f"visibility: runs of a job that {name}",
        f"{later:g} s; Redis, `visibility_timeout` of {SHORT:g} s", str(ours), str(theirs), "1", ours == 1,
    )  # fmt: skip


def _begun(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0
