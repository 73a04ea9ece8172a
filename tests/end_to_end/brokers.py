"""Redis and RabbitMQ of our own: on free ports of loopback, with temporary folders, ended by their ids."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.processes import PATIENCE, Process, free_port, start

__all__ = ["BROKERS", "Broker", "broker"]

BROKERS = ("redis", "rabbitmq")
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's; the one on the path changes to another user."""


class Broker:
    """One broker, which can be killed and started again on its port and with its folder."""

    def __init__(self, url: str, port: int, command: list[str], env: dict[str, str]) -> None:
        self.url = url
        self._port = port
        self._command = command
        self._env = env
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._process = await start(*self._command, env=self._env, stdout=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(2 * PATIENCE):
            while not await self._takes_connections():
                assert self._process.process.returncode is None, f"{self._command[0]} has ended"
                await asyncio.sleep(0.1)

    async def _takes_connections(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    async def kill(self) -> None:
        """Kill it, as a crash would."""
        assert self._process is not None
        await self._process.close()


@asynccontextmanager
async def broker(kind: str, folder: Path, more: str = "") -> AsyncIterator[Broker]:
    """Run a broker until the block ends; ``more`` are lines for its configuration."""
    if kind == "redis":
        yield await _started(_redis(folder, more))
        return
    if not _RABBITMQ.exists():
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    names = free_port()
    epmd = await start("epmd", "-port", str(names), "-address", "127.0.0.1")  # else it would outlive all of this
    try:
        yield await _started(_rabbitmq(folder, names, more))
    finally:
        await epmd.close()


async def _started(broker: Broker) -> Broker:
    await broker.start()
    return broker


def _redis(folder: Path, more: str) -> Broker:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    port = free_port()
    config = folder / "redis.conf"
    config.write_text(f'port {port}\nbind 127.0.0.1\ndir {folder}\nsave ""\nappendonly yes\n{more}\n')
    return Broker(f"redis://127.0.0.1:{port}/0", port, [program, str(config)], {})


def _rabbitmq(folder: Path, names: int, more: str) -> Broker:
    port, ours = free_port(), free_port()
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n{more}\n")
    (folder / "plugins").write_text("[].\n")
    env = {
        "HOME": str(folder), "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"test{port}@localhost", "RABBITMQ_DIST_PORT": str(ours),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"), "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"), "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false +S 1:1 +sbwt none",
    }  # fmt: skip
    return Broker(f"amqp://guest:guest@127.0.0.1:{port}//", port, [str(_RABBITMQ)], env)
