"""Redis and RabbitMQ of our own: on free ports of loopback, with temporary folders, ended by their ids."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bench.jobs.brokers import BROKERS, Program, missing, names_program, rabbitmq_program, redis_program
from tests.end_to_end.processes import PATIENCE, Process, free_port, start

__all__ = ["BROKERS", "Broker", "broker"]


class Broker:
    """One broker, which can be killed and started again on its port and with its folder."""

    def __init__(self, program: Program) -> None:
        self.url = program.url
        self.port = program.port
        self._program = program
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._process = await start(*self._program.argv, env=self._program.env, stdout=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(2 * PATIENCE):
            while not await self._takes_connections():
                assert self._process.process.returncode is None, f"{self._program.argv[0]} has ended"
                await asyncio.sleep(0.1)

    async def _takes_connections(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
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
    if lacking := missing(kind):
        pytest.skip(lacking)
    if kind == "redis":
        yield await _started(redis_program(free_port(), folder, more))
        return
    names = free_port()
    epmd = await start(*names_program(names))
    try:
        yield await _started(rabbitmq_program(free_port(), names, free_port(), folder, more))
    finally:
        await epmd.close()


async def _started(program: Program) -> Broker:
    broker = Broker(program)
    await broker.start()
    return broker
