"""How long it takes to answer a client, and until a function has begun, at a steady rate."""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.durability.figure import Figure, data_folder
from bench.jobs import celery_alone
from bench.jobs.figure import Requests, Service, milliseconds, share, wait_until

__all__ = ["add_options", "post_figures", "start_figures"]

_PATIENCE = 60.0
_BAR = 10.0
"""Milliseconds of the p99 of an answer."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rate", type=float, default=100.0, help="jobs a second (default 100)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of post and of start")


def post_figures(options: Namespace) -> list[Figure]:
    """Measure a POST of a job that is due later, beside Celery's ``apply_async``."""
    count = int(options.rate * options.seconds)
    with data_folder() as folder:
        service = Service(options.port, folder)
        try:
            ours = _posted(options.port, count, options.rate)
        finally:
            service.stop()
        theirs: list[float] | str
        if lacking := celery_alone.missing():
            theirs = f"not measured: {lacking}"
        else:
            with celery_alone.broker(options.port + 1, folder) as address:
                task = celery_alone.tasks(address).stamp
                theirs = _paced(count, options.rate, lambda: task.apply_async(("", 0.0), countdown=3600))
    return [
        Figure(
            "post: answer, p50, p99, longest", f"{options.rate:g}/s, one client, --sync full", milliseconds(ours),
            theirs if isinstance(theirs, str) else milliseconds(theirs), f"p99 under {_BAR:g} ms",
            share(ours, 0.99) * 1e3 < _BAR,
        )
    ]  # fmt: skip


def _posted(port: int, count: int, rate: float) -> list[float]:
    body = {"publish": {"topic": "t", "data": {"order": 17}}, "delay": 3600}
    with closing(Requests(port)) as requests:
        return _paced(count, rate, lambda: requests.make(body))


def _paced(count: int, rate: float, once: Callable[[], object]) -> list[float]:
    """Do something at a steady rate; return the seconds that it took each time."""
    once()
    begin, times = time.monotonic(), []
    for number in range(count):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        now = time.monotonic()
        once()
        times.append(time.monotonic() - now)
    return times


def start_figures(options: Namespace) -> list[Figure]:
    """Measure from before the request to the first line of the function, beside a plain Celery worker."""
    count = int(options.rate * options.seconds)
    with data_folder() as folder:
        ours = _started_here(options, folder, count)
        theirs: list[float] | str
        if lacking := celery_alone.missing():
            theirs = f"not measured: {lacking}"
        else:
            theirs = _started_there(options, folder, count)
    held = None if isinstance(theirs, str) else share(ours, 0.99) <= share(theirs, 0.99)
    return [
        Figure(
            "start: function begun, p50, p99, longest", f"{options.rate:g}/s of `run`, --sync full",
            milliseconds(ours), theirs if isinstance(theirs, str) else milliseconds(theirs),
            "p99 no worse than Celery's", held,
        )
    ]  # fmt: skip


def _started_here(options: Namespace, folder: Path, count: int) -> list[float]:
    file = folder / "ours"
    service = Service(options.port, folder)
    try:
        with closing(Requests(options.port)) as requests:

            def make() -> str:
                return requests.make({"run": {"name": "stamp", "args": [str(file), time.time()]}})

            return _stamped(file, count, options.rate, make)
    finally:
        service.stop()


def _started_there(options: Namespace, folder: Path, count: int) -> list[float]:
    file = folder / "theirs"
    with celery_alone.broker(options.port + 1, folder) as address, celery_alone.worker(address):
        task = celery_alone.tasks(address).stamp
        return _stamped(file, count, options.rate, lambda: task.delay(str(file), time.time()))


def _stamped(file: Path, count: int, rate: float, make: Callable[[], object]) -> list[float]:
    """Have functions stamp a file at a steady rate, after a few that start the processes."""
    warm = 20
    for _ in range(warm):
        make()
    wait_until(lambda: _lines(file) == warm, _PATIENCE, "the first functions")
    _paced(count - 1, rate, make)
    wait_until(lambda: _lines(file) == warm + count, _PATIENCE, "all functions")
    stamps = [json.loads(line) for line in file.read_text().splitlines()[warm:]]
    return [began - given for given, began, _ in stamps]


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0
