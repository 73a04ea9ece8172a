"""Which storage a service has: a data directory, or none. SQLite is imported only where there is one."""

from collections.abc import Callable
from typing import Protocol

from service.core.batch_store import BatchStore, KeptBatch, MemoryBatches
from service.core.jobs.store import JobStore, MemoryJobs
from service.core.ports import TopicStore, WatchStore
from service.core.topics.hub import Hub
from service.storage.errors import StorageUnusable
from service.storage.options import DataOptions
from service.storage.statistics import StorageStatistics

__all__ = ["Keeping", "open_storage"]


class Keeping(Protocol):
    """What the composition asks of storage: made by :func:`open_storage`, used on the loop's thread, closed last.

    ``store`` is called once, for the one hub; then ``open_topics`` with that hub, and ``open_batches``, each once
    and before anything is served. Neither raises for what is damaged, which is logged and left out. Nothing is
    asked after ``close``; what was asked before is answered by its end.
    """

    @property
    def watches(self) -> WatchStore | None:
        """What is kept of watches; None where nothing outlives the process."""
        ...

    @property
    def batches(self) -> BatchStore:
        """The store of batches."""
        ...

    @property
    def jobs(self) -> JobStore:
        """The store of jobs."""
        ...

    def store(self, memory: TopicStore) -> TopicStore:
        """Return the store of the hub; ``memory`` has what is not kept."""
        ...

    async def open_topics(self, hub: Hub) -> None:
        """Have the hub go on with every topic that has messages."""
        ...

    async def open_batches(self, restore: Callable[[KeptBatch], object]) -> None:
        """Have the service go on with every batch."""
        ...

    @property
    def failing(self) -> str:
        """Say what has not worked for a while; empty where all does."""
        ...

    def statistics(self) -> StorageStatistics | None:
        """Return the figures of now, where there are any."""
        ...

    async def close(self) -> None:
        """Store and answer what waits, and release the directory, so that another process may open it."""
        ...


class _Nothing:
    """A service without a data directory."""

    failing = ""
    watches = None
    batches = MemoryBatches()

    def __init__(self) -> None:
        self.jobs = MemoryJobs()

    def store(self, memory: TopicStore) -> TopicStore:
        return memory

    async def open_topics(self, hub: Hub) -> None:
        """There are none."""

    async def open_batches(self, restore: Callable[[KeptBatch], object]) -> None:
        """There are none."""

    def statistics(self) -> None:
        """There are none."""

    async def close(self) -> None:
        """There is nothing to close."""


async def open_storage(
    options: DataOptions, *, clock: Callable[[], float], new_epoch: Callable[[], str]
) -> Keeping:
    """Open the data directory, if there is to be one; raise StorageUnusable with one line for an operator."""
    if options.path is None:
        return _Nothing()
    try:
        from service.storage.storage import Storage
    except ImportError as error:
        raise StorageUnusable("--data needs the package apsw: pip install 'sluice[data]'") from error
    return await Storage.open(options.path, options, clock=clock, new_epoch=new_epoch)
