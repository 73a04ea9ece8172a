"""Where jobs are carried out: by a service with slots, or with Celery workers and their broker."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from bench.jobs.brokers import NAMES, Broker
from bench.jobs.figure import Service
from bench.jobs.workers import Workers, kill_one, slots, worker

__all__ = ["Embedded", "OnCelery", "Place"]

_RING: Final = ("--ring-messages", "100000", "--ring-size", str(64 << 20), "--ring-age", "86400")
_SIZE: Final = ("--jobs-size", str(4 << 30))


class Place(Protocol):
    """A service, and the processes that run its functions: its own, or those of Celery workers."""

    name: str
    url: str

    def kill(self, chance: random.Random) -> str:
        """Kill something, start it again if it does not come back by itself, and return what it was."""
        ...

    def stop(self) -> None:
        """End all of it."""
        ...


class Embedded:
    """A service with slots; it may fetch from ``upstream``, a port of this machine."""

    name = "slots"

    def __init__(self, port: int, folder: Path, upstream: int) -> None:
        self._service = Service(port, folder, *_allowed(upstream), *_SIZE, *_RING)
        self.url = self._service.url

    def kill(self, chance: random.Random) -> str:
        """Kill the service, or one of its slots."""
        if chance.random() < 0.5 and kill_one(slots(self._service.child), chance):
            return "slot"
        _restart(self._service)
        return "service"

    def stop(self) -> None:
        """End the service."""
        self._service.stop()


class OnCelery:
    """A service, a broker and Celery workers."""

    def __init__(self, kind: str, port: int, folder: Path, upstream: int, app: str = "service.jobs.worker") -> None:
        self.name = f"Celery on {NAMES[kind]}"
        self.broker = Broker(kind, port + 1, folder / kind)
        self._service = Service(port, folder, *_allowed(upstream), *_SIZE, *_RING, "--celery", self.broker.url)
        self.url = self._service.url
        self.workers = Workers(partial(worker, self.broker.url, self.url, app=app))
        self._kills: dict[str, Callable[[random.Random], bool]] = {
            "service": lambda _: _restart(self._service),
            "worker": self.workers.kill,
            "child": self.workers.kill_child,
            "slot": self.workers.kill_slot,
            "broker": lambda _: self._restart_broker(),
        }
        """Functions that kill something, and return whether there was anything to kill."""

    def kill(self, chance: random.Random) -> str:
        """Kill the service, a whole worker, a process of its pool, a process that runs functions, or the broker."""
        while not self._kills[what := chance.choice(list(self._kills))](chance):
            continue
        return what

    def _restart_broker(self) -> bool:
        self.broker.kill()
        self.broker.start()
        return True

    def stop(self) -> None:
        """End all of it."""
        self.workers.stop()
        self._service.stop()
        self.broker.stop()


def _allowed(upstream: int) -> tuple[str, ...]:
    return "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream)


def _restart(service: Service) -> bool:
    service.kill()
    service.start_again()
    return True
