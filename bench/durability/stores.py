"""The stores that are compared: each a process on core 0, given batches by a client in Python."""

import asyncio
import importlib.util
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import uvloop

from bench.durability.figure import FULL, MEMORY, NORMAL, Kind
from bench.durability.load import Load
from bench.processes import Child, reachable
from service.client import Client

__all__ = ["STORES", "Store"]

_T = TypeVar("_T")
_LIMITS: Final = ("--client-rate", "1e9", "--client-bytes", "1000000000", "--heartbeat", "3600")


class Store(ABC):
    """One store with one client."""

    name: ClassVar[str]
    means: ClassVar[str]
    """What an acknowledgement means, and who sends."""

    def __init__(self, port: int, folder: Path, topics: int, size: int) -> None:
        folder.mkdir()
        self.port = port
        self.topics = [f"t.{number}" for number in range(topics)]
        self.data = "x" * (size - 2)
        self.child = self.start(folder)
        self._next = 0

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed for it, or return None."""
        return None

    @abstractmethod
    def start(self, folder: Path) -> Child:
        """Start its process and return when it listens."""

    @abstractmethod
    def batches(self, size: int, seconds: float) -> list[float]:
        """Have it keep one batch after another; return the seconds that each took to be acknowledged."""

    def close(self) -> None:
        """End the process."""
        self.child.stop(30)

    def names(self, size: int) -> list[str]:
        """Return the topics of the next messages."""
        first, self._next = self._next, self._next + size
        return [self.topics[number % len(self.topics)] for number in range(first, first + size)]


class _Asynchronous(Store):
    """A store whose client runs on a loop, which lasts as long as the store."""

    def __init__(self, port: int, folder: Path, topics: int, size: int) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        super().__init__(port, folder, topics, size)

    def batches(self, size: int, seconds: float) -> list[float]:
        return self.run(self._batches(size, seconds))

    async def _batches(self, size: int, seconds: float) -> list[float]:
        times: list[float] = []
        begin = now = time.monotonic()
        while now < begin + seconds:
            await self.keep(self.names(size))
            before, now = now, time.monotonic()
            times.append(now - before)
        return times

    @abstractmethod
    async def keep(self, names: list[str]) -> None:
        """Send a message to each topic, all at once, and wait for all answers."""

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run something on the loop."""
        return self._runner.run(work)

    def close(self) -> None:
        self._runner.close()
        super().close()


class _Sluice(Store):
    """Ours, with the client of the other parts, which only writes requests and looks for ids."""

    kind: ClassVar[Kind]

    def start(self, folder: Path) -> Child:
        return self.kind.start(self.port, folder, *_LIMITS)

    def batches(self, size: int, seconds: float) -> list[float]:
        async def publish() -> list[float]:
            load = await Load.connect(self.port, connections=1, topics=len(self.topics), size=len(self.data) + 2)
            try:
                return await load.batches(size, seconds)
            finally:
                load.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(publish())


class _SluiceFull(_Sluice):
    name = "sluice --sync full"
    means = "on disk; a bare client"
    kind = FULL


class _SluiceNormal(_Sluice):
    name = "sluice --sync normal"
    means = "given to the system; a bare client"
    kind = NORMAL


class _SluiceMemory(_Sluice):
    name = "sluice without --data"
    means = "in memory; a bare client"
    kind = MEMORY


class _SluiceClient(_Asynchronous):
    name = "sluice --sync full, sluice-client"
    means = "on disk; 100 calls of its client at once"

    def start(self, folder: Path) -> Child:
        child = FULL.start(self.port, folder, *_LIMITS)
        self._client = self.run(Client(f"http://127.0.0.1:{self.port}").__aenter__())
        return child

    async def keep(self, names: list[str]) -> None:
        await asyncio.gather(*(self._client.publish(name, self.data, once=False) for name in names))

    def close(self) -> None:
        self.run(self._client.close())
        super().close()


class _Redis(Store):
    """XADD, a pipeline for each batch."""

    fsync: ClassVar[str]

    @classmethod
    def missing(cls) -> str | None:
        there = shutil.which("redis-server") and importlib.util.find_spec("redis")
        return None if there else "redis-server, and the package redis (.venv/bin/python -m pip install redis)"

    def start(self, folder: Path) -> Child:
        import redis

        argv = ["redis-server", "--port", str(self.port), "--dir", str(folder), "--save", "", "--appendonly", "yes",
                "--appendfsync", self.fsync, "--auto-aof-rewrite-percentage", "0"]  # fmt: skip
        child = Child(argv, core=0)
        reachable(self.port)
        self._redis = redis.Redis(port=self.port)
        return child

    def batches(self, size: int, seconds: float) -> list[float]:
        times: list[float] = []
        begin = now = time.monotonic()
        while now < begin + seconds:
            pipeline = self._redis.pipeline(transaction=False)
            for name in self.names(size):
                pipeline.xadd(name, {"data": self.data})
            if len(pipeline.execute()) != size:
                raise RuntimeError("redis did not answer to every XADD")
            before, now = now, time.monotonic()
            times.append(now - before)
        return times

    def close(self) -> None:
        self._redis.close()
        super().close()


class _RedisAlways(_Redis):
    name = "redis-server, appendfsync always"
    means = "on disk; redis-py, a pipeline"
    fsync = "always"


class _RedisEverySecond(_Redis):
    name = "redis-server, appendfsync everysec"
    means = "given to the system; redis-py, a pipeline"
    fsync = "everysec"


class _Nats(_Asynchronous):
    """JetStream on files; Debian's version has no setting that synchronises each message."""

    name = "NATS JetStream, file"
    means = "given to the system; nats-py, 100 calls at once"

    @classmethod
    def missing(cls) -> str | None:
        there = shutil.which("nats-server") and importlib.util.find_spec("nats")
        return None if there else "nats-server, and the package nats-py"

    def start(self, folder: Path) -> Child:
        child = Child(["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(folder)], core=0)
        reachable(self.port)
        self.run(self._connect())
        return child

    async def _connect(self) -> None:
        import nats

        self._nats = await nats.connect(f"nats://127.0.0.1:{self.port}")
        self._stream = self._nats.jetstream()
        await self._stream.add_stream(name="messages", subjects=["t.*"])

    async def keep(self, names: list[str]) -> None:
        data = self.data.encode()
        await asyncio.gather(*(self._stream.publish(name, data, timeout=30) for name in names))

    def close(self) -> None:
        self.run(self._nats.close())
        super().close()


STORES: Final[tuple[type[Store], ...]] = (
    _SluiceFull, _SluiceNormal, _SluiceMemory, _SluiceClient, _RedisAlways, _RedisEverySecond, _Nats,
)  # fmt: skip
