"""How soon a function runs once more when its process, or the whole worker, is killed."""

import json
import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from bench.durability.figure import Figure, data_folder
from bench.jobs import brokers, celery_alone
from bench.jobs.celery_alone import SHORT
from bench.jobs.figure import Requests, Service, wait_until
from bench.jobs.places import OnCelery
from service.core.jobs.lease import LEASE

__all__ = ["add_options", "run"]

_PATIENCE: Final = 60.0
_ALONE: Final = 150.0
"""Seconds that Celery alone gets: kombu looks for unacknowledged tasks every 100 s."""
_BAR: Final = 1.0
_WORKER_BAR: Final = LEASE + 5.0


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--kill-slots", type=int, default=5, help="processes that are killed, one after another")
    parser.add_argument("--kill-workers", type=int, default=3, help="the same of whole workers, with --celery")


def run(options: Namespace) -> list[Figure]:
    """Kill processes of functions, or with ``--celery`` whole workers, here and of Celery alone."""
    return (
        [_workers_killed(options, kind) for kind in options.celery] if options.celery else [_slots_killed(options)]
    )


def _slots_killed(options: Namespace) -> Figure:
    count = options.kill_slots
    with data_folder() as folder:
        service = Service(options.port, folder)
        try:
            make = partial(_make, options.port)
            ours = [_again(folder / f"ours-{number}", make, _kill) for number in range(count)]
        finally:
            service.stop()
        if lacking := celery_alone.missing():
            found = f"not measured: {lacking}"
        else:
            with celery_alone.broker(options.port + 1, folder) as address, celery_alone.worker(address):
                make = partial(celery_alone.send, address, "hold")
                theirs = [_again(folder / f"theirs-{number}", make, _kill) for number in range(count)]
            found = f"{max(theirs) * 1e3:.0f} ms"
    return Figure(
        "again: after the kill of a process",
        f"longest of {count}; Celery with `acks_late` and `reject_on_worker_lost`",
        f"{max(ours) * 1e3:.0f} ms", found, f"{_BAR:g} s", max(ours) <= _BAR,
    )  # fmt: skip


def _workers_killed(options: Namespace, kind: str) -> Figure:
    name, count = f"again: after the kill of a worker, {brokers.NAMES[kind]}", options.kill_workers
    if lacking := brokers.missing(kind) or celery_alone.missing():
        return Figure(name, "", f"not measured: {lacking}")
    with data_folder() as folder, ThreadPoolExecutor(1) as beside:
        # Both of them wait, and do next to nothing.
        theirs = beside.submit(_alone, kind, options.port + 4, folder)
        place = OnCelery(kind, options.port, folder, options.port)
        try:
            make, kill = partial(_make, options.port), place.workers.kill_above
            ours = [_again(folder / f"ours-{number}", make, kill) for number in range(count)]
        finally:
            place.stop()
        found = theirs.result()
    return Figure(
        name, f"longest of {count}; Celery: one, with `acks_late`, `visibility_timeout` of {SHORT:g} s on Redis",
        f"{max(ours):.1f} s", found, f"{_WORKER_BAR:g} s: the lease and 5 s", max(ours) <= _WORKER_BAR,
    )  # fmt: skip


def _alone(kind: str, port: int, folder: Path) -> str:
    """Kill a worker of Celery alone; return how long it took until the other worker began the task again."""
    with celery_alone.workers(kind, port, folder / "alone") as (address, workers):
        make = partial(celery_alone.send, address, "hold")
        try:
            return f"{_again(folder / 'theirs', make, workers.kill_above, _ALONE):.1f} s"
        except TimeoutError:
            return f"not within {_ALONE:g} s"


def _make(port: int, file: str, given: float) -> None:
    with closing(Requests(port)) as requests:  # an idle connection would be closed while the lease runs out
        requests.make({"run": {"name": "hold", "args": [file, given]}})


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _again(
    file: Path, make: Callable[[str, float], object], kill: Callable[[int], object], patience: float = _PATIENCE
) -> float:
    """Return the seconds from the kill of the first process to the next beginning."""
    make(str(file), 0.0)
    wait_until(lambda: len(_stamps(file)) == 1, _PATIENCE, "the first attempt")
    pid, killed = int(_stamps(file)[0][2]), time.time()
    kill(pid)
    wait_until(lambda: len(_stamps(file)) == 2, patience, "the second attempt")
    return float(_stamps(file)[1][1] - killed)


def _stamps(file: Path) -> list[list[float]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
