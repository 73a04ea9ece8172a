"""Brokers of Celery: a Redis or a RabbitMQ on loopback that keeps its data in a folder, and can be killed."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.processes import Child, reachable

__all__ = ["BROKERS", "NAMES", "Broker", "Program", "missing", "names_program", "rabbitmq_program", "redis_program"]

BROKERS: Final = ("redis", "rabbitmq")
_PATIENCE: Final = 120.0
"""Seconds until a broker takes connections: RabbitMQ needs five on a free core."""
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's program itself; the script on the path changes to another user."""
_PACKAGES: Final = {"redis": "redis-server", "rabbitmq": "rabbitmq-server"}
NAMES: Final = {"redis": "Redis", "rabbitmq": "RabbitMQ"}


@dataclass(frozen=True, slots=True)
class Program:
    """How a broker is started; when started again, it continues with its data."""

    url: str
    port: int
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def missing(kind: str) -> str | None:
    """Return what has to be installed for a broker; None if nothing is missing."""
    found = _RABBITMQ.exists() if kind == "rabbitmq" else shutil.which("redis-server")
    return None if found else f"{_PACKAGES[kind]} is not installed: apt-get install {_PACKAGES[kind]}"


def redis_program(port: int, folder: Path, more: str = "") -> Program:
    """Return a Redis with an append-only file; ``more`` are lines for its configuration."""
    config = folder / "redis.conf"
    config.write_text(f'port {port}\nbind 127.0.0.1\ndir {folder}\nsave ""\nappendonly yes\n{more}\n')
    return Program(f"redis://127.0.0.1:{port}/0", port, ["redis-server", str(config)])


def names_program(port: int) -> Sequence[str]:
    """Return the name server (epmd) that RabbitMQ needs; one started by RabbitMQ itself would outlive it."""
    return ["epmd", "-port", str(port), "-address", "127.0.0.1"]


def rabbitmq_program(port: int, names: int, ours: int, folder: Path, more: str = "") -> Program:
    """Return a RabbitMQ with a server of names at a port, and a port for its own protocol."""
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n{more}\n")
    (folder / "plugins").write_text("[].\n")
    env = {
        "HOME": str(folder), "ERL_CRASH_DUMP": str(folder / "crash"),
        "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"broker{port}@localhost", "RABBITMQ_DIST_PORT": str(ours),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"), "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false +S 1:1 +sbwt none",
    }  # fmt: skip
    return Program(f"amqp://guest:guest@127.0.0.1:{port}//", port, [str(_RABBITMQ)], env)


class Broker:
    """One broker on core 0, at a port and the two after it, which runs until it is stopped."""

    def __init__(self, kind: str, port: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._names: Child | None = None
        if kind == "redis":
            self._program = redis_program(port, folder)
        else:
            self._names = Child(names_program(port + 1), core=0)
            self._program = rabbitmq_program(port, port + 1, port + 2, folder)
        self.url = self._program.url
        self.start()

    def start(self) -> None:
        """Start the broker, and return when it takes connections."""
        self._child = Child(self._program.argv, core=0, env=self._program.env, apart=True)
        reachable(self._program.port, _PATIENCE)

    def kill(self) -> None:
        """Kill the broker, like a crash."""
        self._child.kill_group()

    def stop(self) -> None:
        """End the broker, and its name server."""
        self.kill()
        if self._names is not None:
            self._names.stop()
