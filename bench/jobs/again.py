"""A process that is killed while it runs a function: how soon the function runs once more."""

import json
import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.durability.figure import Figure, data_folder
from bench.jobs import celery_alone
from bench.jobs.figure import Requests, Service, wait_until

__all__ = ["add_options", "run"]

_PATIENCE: Final = 60.0
_BAR: Final = 1.0


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--kill-slots", type=int, default=5, help="processes that are killed, one after another")


def run(options: Namespace) -> list[Figure]:
    """Kill processes of functions, here and of a Celery worker with ``acks_late`` and ``reject_on_worker_lost``."""
    count = options.kill_slots
    with data_folder() as folder:
        service = Service(options.port, folder)
        try:
            with closing(Requests(options.port)) as requests:

                def make(file: Path) -> None:
                    requests.make({"run": {"name": "hold", "args": [str(file), 0.0]}})

                ours = [_again(folder / f"ours-{number}", make) for number in range(count)]
        finally:
            service.stop()
        found = celery_alone.missing() or ""
        if not found:
            with celery_alone.broker(options.port + 1, folder) as address, celery_alone.worker(address):
                hold = celery_alone.tasks(address).hold
                theirs = [
                    _again(folder / f"theirs-{number}", lambda file: hold.delay(str(file), 0.0))
                    for number in range(count)
                ]
            found = f"{max(theirs) * 1e3:.0f} ms"
    return [
        Figure(
            "again: after the kill of a process",
            f"longest of {count}; Celery with `acks_late` and `reject_on_worker_lost`",
            f"{max(ours) * 1e3:.0f} ms", found, f"{_BAR:g} s", max(ours) <= _BAR,
        )
    ]  # fmt: skip


def _again(file: Path, make: Callable[[Path], object]) -> float:
    """Return the seconds from the kill of the first process to the next beginning."""
    make(file)
    wait_until(lambda: len(_stamps(file)) == 1, _PATIENCE, "the first attempt")
    os.kill(int(_stamps(file)[0][2]), signal.SIGKILL)
    killed = time.time()
    wait_until(lambda: len(_stamps(file)) == 2, _PATIENCE, "the second attempt")
    return float(_stamps(file)[1][1] - killed)


def _stamps(file: Path) -> list[list[float]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
