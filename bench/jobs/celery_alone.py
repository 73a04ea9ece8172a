"""Celery with one plain worker on Redis, on the core of the service: what the figures are beside."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.jobs.figure import SLOTS
from bench.processes import Child, reachable

__all__ = ["broker", "missing", "tasks", "worker"]


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
    from bench.jobs.celery_tasks import BROKER

    argv = [sys.executable, "-m", "celery", "-A", "bench.jobs.celery_tasks", "worker", "--loglevel", "ERROR",
            "--concurrency", str(SLOTS), "--without-mingle", "--without-gossip"]  # fmt: skip
    child = Child(argv, core=0, env={BROKER: address})
    try:
        yield child
    finally:
        child.stop(30)
