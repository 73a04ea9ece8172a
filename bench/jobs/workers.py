"""Celery workers that are killed and started again: those of the service, and those of Celery alone."""

import random
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil

from bench.jobs.figure import FUNCTIONS, SLOTS
from bench.processes import Child

__all__ = ["Workers", "arguments", "kill_one", "slots", "worker"]

_SLOT = "service.jobs.slot"
_COUNT = 2


class Workers:
    """Two workers, each of which ``start`` starts by its name in a process group of its own."""

    def __init__(self, start: Callable[[str], Child]) -> None:
        self._start = start
        self._running = {name: start(name) for name in (f"worker-{number}" for number in range(_COUNT))}

    def kill(self, chance: random.Random) -> bool:
        """Kill a worker with all of its processes, and start it again."""
        self._replace(chance.choice(list(self._running)))
        return True

    def kill_child(self, chance: random.Random) -> bool:
        """Kill a process of a pool, which Celery replaces; return whether there was one."""
        return kill_one([one for child in self._children() for one in psutil.Process(child.pid).children()], chance)

    def kill_slot(self, chance: random.Random) -> bool:
        """Kill a process that runs functions; return whether there was one."""
        return kill_one([one for child in self._children() for one in slots(child)], chance)

    def kill_above(self, pid: int) -> None:
        """Kill the worker to which a process belongs."""
        above = {one.pid for one in psutil.Process(pid).parents()}
        self._replace(next(name for name, child in self._running.items() if child.pid in above))

    def _replace(self, name: str) -> None:
        self._running[name].kill_group()
        self._running[name] = self._start(name)

    def _children(self) -> list[Child]:
        return list(self._running.values())

    def stop(self) -> None:
        """Kill all of them."""
        for child in self._children():
            child.kill_group()


def arguments(app: str, name: str) -> list[str]:
    """Return the command of a worker."""
    return [sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel", "ERROR", "--concurrency", str(SLOTS),
            "--without-mingle", "--without-gossip", "-n", name]  # fmt: skip


def worker(broker: str, url: str, name: str, app: str = "service.jobs.worker") -> Child:
    """Start a worker for a service at a URL, on core 1, as if it were another machine."""
    env = {"SLUICE_CELERY": broker, "SLUICE_JOBS": FUNCTIONS, "SLUICE_URL": url}
    return Child(arguments(app, name), core=1, env=env, apart=True)


def slots(parent: Child) -> list[psutil.Process]:
    """Return the processes below a service or a worker that run functions."""
    found = []
    for child in psutil.Process(parent.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if _SLOT in child.cmdline():
                found.append(child)
    return found


def kill_one(processes: list[psutil.Process], chance: random.Random) -> bool:
    """Kill one of these processes; return whether there was one, as they also end by themselves."""
    if not processes:
        return False
    try:
        chance.choice(processes).kill()
    except psutil.NoSuchProcess:
        return False
    return True
