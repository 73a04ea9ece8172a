"""A service's batches over a data directory that can be killed, without a network."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from service.core.fetching.batch import Batch, BatchLimits, BatchRequest, IdempotencyKey, Keep
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import Owner
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.core.topics.topic import OnLag, Since
from service.sources.batches import Batches
from service.storage.options import DataOptions
from service.storage.storage import Storage
from service.upstream.attempts import FetchAttempt
from service.upstream.runner import Runner
from tests.core.readers import FakeReader
from tests.upstream.test_batches import FakeFetcher

__all__ = ["BatchDisk", "Running", "events", "url"]

Answer = Callable[[FetchAttempt], Awaitable[Fetched | Failure]]


def url(index: int) -> str:
    """Return the URL at an index."""
    return f"http://h{index % 50}.example/{index}"


def inline_threads() -> None:
    """Have threads' work done in the turn that asks for it: the virtual clock does not wait for threads."""
    loop: Any = asyncio.get_running_loop()

    def run(executor: object, job: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = loop.create_future()
        try:
            done.set_result(job(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done

    loop.run_in_executor = run


class Running:
    """One life of the service."""

    def __init__(
        self, storage: Storage, limits: BatchLimits, answer: Answer, ids: "count[int]", steps: Any = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.storage = storage
        self.hub = Hub(
            HubLimits(), storage.store(MemoryStore(lambda: "m")), call_soon=loop.call_soon, clock=loop.time
        )
        self.fetcher = FakeFetcher(answer, limits)
        self.runner = Runner(self.fetcher, limits, chance=lambda: 1.0)  # type: ignore[arg-type]
        self.batches = Batches(
            self.hub, self.fetcher, self.runner, limits,  # type: ignore[arg-type]
            new_id=lambda: f"b{next(ids)}", store=storage.batches, steps=steps,
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        """The URLs that were fetched in this life."""
        return [order.target.url for order in self.fetcher.orders]

    def start(
        self,
        total: int = 10,
        *,
        keep: Keep = Keep.DETACHED,
        key: IdempotencyKey | None = None,
        owner: str = "o",
        requests: list[FetchRequest] | None = None,
        **options: Any,
    ) -> Batch:
        """Begin a batch."""
        urls = None if requests else [url(index) for index in range(total)]
        request = BatchRequest(urls=urls, requests=requests, options=Options(**options))
        return self.batches.start(request, owner=Owner(owner), keep=keep, key=key)

    def read(self, batch_id: str, since: Since = "oldest") -> FakeReader:
        """Read a batch."""
        reader = FakeReader(self.batches.find(batch_id).topic, OnLag.DISCONNECT)
        self.hub.attach(reader, since)
        return reader

    async def all_of(self, batch_id: str) -> list[dict[str, Any]]:
        """Return the events of a batch that ends within an hour."""
        reader = self.read(batch_id)
        async with asyncio.timeout(3600):
            while not (reader.lines and orjson.loads(reader.lines[-1])["event"] == "done"):
                await asyncio.sleep(0.01)
        return events(reader)

    async def close(self) -> None:
        """End it in order."""
        self.batches.close()
        await self.runner.close()
        await self.batches.stepping.close()
        await self.storage.close()


class BatchDisk:
    """A data directory, and the lives of a service over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.limits = BatchLimits()
        self.lives: list[Running] = []
        self.steps: Any = None
        """What carries out the steps of the next life, if anything does."""
        self._ids = count(1)
        self._epochs = count(1)
        inline_threads()

    async def open(self, answer: Answer, **limits: Any) -> Running:
        """Begin a life, with what the directory has."""
        options = DataOptions(self.path, "full", (), 120.0)
        loop = asyncio.get_running_loop()
        storage = await Storage.open(
            self.path, options, clock=loop.time, new_epoch=lambda: f"e{next(self._epochs)}"
        )
        life = Running(storage, replace(self.limits, **limits), answer, self._ids, self.steps)
        self.lives.append(life)
        await storage.open_topics(life.hub)
        await storage.open_batches(life.batches.restore)
        return life

    def kill(self) -> None:
        """Go on with a copy of the files as they are now, as after ``kill -9``."""
        before, self.path = self.path, self.path.with_name(self.path.name + "x")
        shutil.copytree(before, self.path)

    async def close(self) -> None:
        """End all lives."""
        for life in self.lives:
            await life.close()


def events(reader: FakeReader) -> list[dict[str, Any]]:
    """Return what a reader has had."""
    return [orjson.loads(line) for line in reader.lines]
