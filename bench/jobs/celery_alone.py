"""Celery with one plain worker on Redis, on the core of the service: what the figures are beside."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.jobs.brokers import Broker
from bench.jobs.workers import Workers, arguments
from bench.processes import Child, reachable

__all__ = ["BROKER", "SHORT", "VISIBILITY", "broker", "missing", "send", "tasks", "worker", "workers"]

BROKER: Final = "BENCH_BROKER"
"""The environment variable of a worker with the address of its broker."""
VISIBILITY: Final = "BENCH_VISIBILITY"
"""The variable with Redis's visibility timeout in seconds, if it is not Celery's default."""
SHORT: Final = 5.0
"""A visibility timeout that is shorter than the functions run."""


def missing() -> str | None:
    """Say what has to be installed for it, or return None."""
    there = shutil.which("redis-server") and all(map(importlib.util.find_spec, ("celery", "redis")))
    return None if there else "redis-server, or one of the packages celery and redis, is not installed"


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
    child = _start_worker(address)
    try:
        yield child
    finally:
        child.stop(30)


@contextmanager
def workers(kind: str, port: int, folder: Path) -> Iterator[tuple[str, Workers]]:
    """Yield the address of a broker, and two workers on the other core; a Redis has the short timeout."""
    env = {VISIBILITY: str(SHORT)} if kind == "redis" else {}
    with ExitStack() as stack:
        found = Broker(kind, port, folder)
        stack.callback(found.stop)
        running = Workers(lambda name: _start_worker(found.url, name, 1, **env))
        stack.callback(running.stop)
        yield found.url, running


def _start_worker(address: str, name: str = "worker", core: int = 0, **env: str) -> Child:
    """Start a worker on a core, in a process group of its own."""
    return Child(arguments("bench.jobs.celery_tasks", name), core=core, env={BROKER: address, **env}, apart=True)


def send(address: str, name: str, *args: object, countdown: float | None = None) -> None:
    """Send a task to one of several brokers that may run at the same time."""
    from bench.jobs.celery_tasks import app

    with app.connection_for_write(address) as connection:
        app.send_task(name, args, countdown=countdown, connection=connection)
