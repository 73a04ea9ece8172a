"""A data directory in use: opened, read, written, closed; and which topics are kept in it."""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from service.core.batch_store import KeptBatch
from service.core.errors import SluiceError
from service.core.owner import Owner
from service.core.ports import TopicStore
from service.core.topics.hub import Hub
from service.core.topics.names import RESERVED, is_watch
from service.runtime.containment import contain
from service.storage.database import Database, Sync
from service.storage.directory import DataDirectory
from service.storage.errors import CommitFailed, StorageUnusable
from service.storage.job_recovery import recover_jobs
from service.storage.job_store import DiskJobs
from service.storage.log_recovery import recover_logs
from service.storage.log_store import LogStore
from service.storage.options import DataOptions
from service.storage.recovery import recover
from service.storage.routed_store import RoutedStore
from service.storage.scan import Scan
from service.storage.statistics import Recovered, StorageStatistics
from service.storage.tables import reason
from service.storage.topic_store import DiskStore
from service.storage.wall_clock import WallClock
from service.storage.watch_rows import WatchRows
from service.storage.writer import Writer

__all__ = ["Storage"]

_log = logging.getLogger("sluice.storage")

_PATIENCE = 5.0
"""Seconds for which commits may fail, or one may take, before the service says that it is not ready."""
_SLICE = 200
"""Topics that are opened in one turn of the loop, at the start."""


class Storage:
    """What ``--data DIR`` keeps; made by :meth:`open`."""

    def __init__(
        self,
        directory: DataDirectory,
        database: Database,
        writer: Writer,
        topics: DiskStore,
        watches: WatchRows,
        logs: LogStore,
        batches: list[KeptBatch],
        jobs: DiskJobs,
        recovered: Recovered,
        volatile: Sequence[str],
    ) -> None:
        self.topics = topics
        self.watches = watches
        self.batches = logs
        self._kept_batches = batches
        self.jobs = jobs
        self.writer = writer
        self.recovered = recovered
        self._volatile = volatile
        self._clock = asyncio.get_running_loop().time
        self._directory = directory
        self._database = database

    def __repr__(self) -> str:
        return f"<Storage {self._directory.path}, {self.topics!r}>"

    @classmethod
    async def open(
        cls,
        path: Path,
        options: DataOptions,
        *,
        clock: Callable[[], float],
        new_epoch: Callable[[], str],
    ) -> "Storage":
        """Lock the directory and read all of it; raise StorageUnusable with one line for an operator."""
        loop = asyncio.get_running_loop()
        directory = DataDirectory(path)
        try:
            database = await asyncio.to_thread(Database, directory.database, Sync(options.sync))
        except BaseException:
            directory.close()
            raise
        wall = WallClock(clock)
        try:
            began, scan = loop.time(), Scan(database)
            with _uncollected():
                topics, keys, watches, recovered = await recover(scan, wall, new_epoch)
                found, batches = await recover_logs(scan, wall, new_epoch)
                jobs = await recover_jobs(scan, new_epoch)
            await scan.finish()
            writer = Writer(database)
            recovered.damaged = scan.damage.count + database.damage.count
            recovered.seconds = round(loop.time() - began, 3)
        except BaseException as error:
            database.close()
            directory.close()
            if isinstance(error, apsw.Error | CommitFailed):
                raise StorageUnusable(f"--data {path}: {reason(error, directory.database)}") from error
            raise
        counts = {
            "topics": recovered.topics,
            "messages": recovered.messages,
            "batches": len(batches),
            "jobs": len(jobs.agenda),
            "damaged": recovered.damaged,
            "lost_commits": database.lost_commits,
            "renewed": recovered.renewed,
            "seconds": recovered.seconds,
        }
        if recovered.damaged or recovered.renewed or database.lost_commits:
            _log.error("the data directory was damaged", extra=counts)
        else:
            _log.info("read the data directory", extra=counts)
        store = DiskStore(writer, topics, keys, wall, new_epoch=new_epoch, key_age=options.key_age)
        watching = WatchRows(writer, watches)
        orphans = list(found.orphans.values())
        logs = LogStore(writer, database.rows, found.logs, orphans, found.ids, wall, new_epoch)
        kept = DiskJobs(writer, database, jobs)
        return cls(directory, database, writer, store, watching, logs, batches, kept, recovered, options.volatile)

    def store(self, memory: TopicStore) -> TopicStore:
        """Return the store of a hub: on disk is all but volatile topics and figures."""
        names = frozenset(self._volatile)
        own = (prefix for prefix in RESERVED if not is_watch(prefix))
        prefixes = (*own, *(one[:-1] for one in self._volatile if one.endswith("*")))
        return RoutedStore(
            self.topics, memory, self.batches, lambda name: not name.startswith(prefixes) and name not in names
        )

    @property
    def failing(self) -> str:
        """Say that nothing has been stored for a while; empty where it has."""
        since = self.writer.unwell_since
        return "storage" if since is not None and self._clock() - since > _PATIENCE else ""

    async def open_topics(self, hub: Hub) -> None:
        """Have the hub go on with every topic that has messages."""
        with _uncollected():
            for number, kept in enumerate(list(self.topics.adopt())):
                try:
                    hub.ring(kept.name, owner=Owner(kept.owner))
                except SluiceError as error:
                    # It is opened when somebody asks for it.
                    _log.warning("a topic was not opened", extra={"topic": kept.name, "why": error.detail})
                if number % _SLICE == _SLICE - 1:
                    await asyncio.sleep(0)

    async def open_batches(self, restore: Callable[[KeptBatch], object]) -> None:
        """Have the service go on with every batch."""
        batches, self._kept_batches = self._kept_batches, []
        for batch in batches:
            contain("a batch could not be restored", restore, batch)
            await asyncio.sleep(0)

    def statistics(self) -> StorageStatistics:
        """Return an immutable snapshot."""
        writer, found = self.writer, self.recovered
        return StorageStatistics(
            commits=writer.commits,
            failures=writer.failures,
            durations=writer.durations,
            waiting=writer.waiting,
            size=self._database.size(),
            topics=len(self.topics),
            damaged=found.damaged,
            recovery=found.seconds,
        )

    async def close(self) -> None:
        """Commit what waits, and give the directory back."""
        await self.writer.close()
        self._directory.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector from walking again and again over what is read, none of which is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
