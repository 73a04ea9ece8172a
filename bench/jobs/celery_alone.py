"""Celery with one plain worker on Redis, on the core of the service: what the figures are beside."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.jobs.workers import arguments
from bench.processes import Child, reachable

__all__ = ["BROKER", "SHORT", "VISIBILITY", "broker", "missing", "send", "start_worker", "tasks", "worker"]

BROKER: Final = "BENCH_BROKER"
"""The environment variable of a worker with the address of its broker."""
VISIBILITY: Final = "BENCH_VISIBILITY"
"""And the one with Redis's visibility timeout in seconds, where it is not Celery's own."""
SHORT: Final = 5.0
"""Such a timeout that is shorter than what is run."""


def missing() -> str | None:
    """Say what has to be installed for it, or return None."""
    there = shutil.which("redis-server") and all(map(importlib.util.find_spec, ("celery", "redis")))
    return None if there else "not measured: redis-server, and the packages celery and redis"


@contextmanager
def broker(port: int, folder: Path) -> Iterator[str]:
    """Yield the address of a Redis that runs until the block ends, with its defaults but no snapshots."""
    child = Child(["redis-server", "--port", str(port), "--dir", str(folder), "--save", ""], core=0)
    try:
        reachable(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.stop(30)


def tasks(address: str) -> Any:
    """Return the module of the tasks, which sends to this broker."""
    from bench.jobs import celery_tasks

    celery_tasks.app.conf.broker_url = address
    return celery_tasks


@contextmanager
def worker(address: str) -> Iterator[Child]:
    """Yield a worker with a process for each core, which runs until the block ends."""
    child = start_worker(address)
    try:
        yield child
    finally:
        child.stop(30)


def start_worker(address: str, name: str = "worker", core: int = 0, **env: str) -> Child:
    """Start a worker on a core, in a process group of its own."""
    return Child(arguments("bench.jobs.celery_tasks", name), core=core, env={BROKER: address, **env}, apart=True)


def send(address: str, name: str, *args: object, countdown: float | None = None) -> None:
    """Send a task to a broker that others may be beside."""
    from bench.jobs.celery_tasks import app

    with app.connection_for_write(address) as connection:
        app.send_task(name, args, countdown=countdown, connection=connection)
