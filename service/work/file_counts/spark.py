"""Counting past one machine: the same request as a job of Spark. The one module that imports pyspark."""

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from heapq import merge
from itertools import islice
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import service
from service.work.file_counts.files import parts_of
from service.work.file_counts.partitions import MODULES, FilePart, KeyRanking, count_part, rank
from service.work.line_keys import LineKeys
from service.work.patterns import has_re2

if TYPE_CHECKING:
    from pyspark import SparkContext

__all__ = ["SparkFailed", "count_by_spark", "write_modules"]

_PART: Final = 64 << 20
"""Bytes of a plain file that one task counts."""
_SHARES: Final = 8
"""Of all keys, at most: each is ranked by one task."""
_PATIENCE: Final = 60.0
"""Seconds until a first task has to run."""
_EVERY: Final = 0.2
_STOP: Final = 10.0
"""Seconds that ending may take."""


class SparkFailed(Exception):
    """Spark cannot be used, or the job has failed; the text is one line."""


def count_by_spark(
    master: str,
    names: Sequence[str],
    keys: LineKeys,
    top: int,
    progressed: Callable[[int, int], None],
    failed: Callable[[str, str], None],
) -> dict[str, Any]:
    """Return the counts of files that are at the same path on every machine of a cluster.

    ``progressed`` gets how many parts are counted, and how many there are. Raises SparkFailed.
    """
    found = {os.path.abspath(name): name for name in names}
    parts = [
        FilePart(part.name, part.task.start, part.task.end)
        for name in names
        for part in parts_of([os.path.abspath(name)], lambda path, why: failed(found[path], why), _PART)
    ]
    if not parts:
        return _summary([], top)
    with _context(master) as context:
        job = _Job(context, parts, keys, top)
        rankings = job.result(lambda done: progressed(done, len(parts)))
    for ranking in rankings:
        for path, why in ranking.failed.items():
            failed(found[path], why)
    return _summary(rankings, top)


def _summary(rankings: Sequence[KeyRanking], top: int) -> dict[str, Any]:
    best = islice(merge(*(ranking.top for ranking in rankings)), top)
    return {
        "lines": sum(ranking.lines for ranking in rankings),
        "skipped": sum(ranking.skipped for ranking in rankings),
        "keys": sum(ranking.keys for ranking in rankings),
        "exact": True,
        "error_bound": 0,
        "top": [{"key": key, "count": -count} for count, key in best],
    }


class _Job:
    """The job, which a thread waits for."""

    def __init__(self, context: "SparkContext", parts: Sequence[FilePart], keys: LineKeys, top: int) -> None:
        self._context = context
        shares = min(len(parts), _SHARES)
        self._counted = (
            context.parallelize(parts, len(parts))
            .flatMap(partial(count_part, keys=keys, re2=has_re2()))
            .reduceByKey(add, shares)
            .mapPartitions(partial(rank, top=top))
        )
        self._rankings: list[KeyRanking] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._collect, name="spark", daemon=True)

    def result(self, progressed: Callable[[int], None]) -> list[KeyRanking]:
        """Run it to its end; raises SparkFailed, and what Spark raises."""
        self._thread.start()
        deadline, begun = time.monotonic() + _PATIENCE, False
        while self._thread.is_alive():
            self._thread.join(_EVERY)
            done, active = self._tasks()
            begun = begun or done + active > 0
            progressed(done)
            if not begun and time.monotonic() > deadline:
                raise SparkFailed(
                    f"no task was begun within {_PATIENCE:g} s: has the cluster free cores and memory?"
                )
        if self._error is not None:
            raise self._error
        return self._rankings

    def _collect(self) -> None:
        try:
            self._rankings = self._counted.collect()
        except Exception as error:  # raised in the thread that waits
            self._error = error

    def _tasks(self) -> tuple[int, int]:
        """Return how many tasks of the first stage have ended, and how many tasks run."""
        tracker = self._context.statusTracker()
        stages = [
            tracker.getStageInfo(stage) for job in tracker.getActiveJobsIds() for stage in _stages(tracker, job)
        ]
        known = [stage for stage in stages if stage is not None]
        first = min(known, key=lambda stage: stage.stageId, default=None)
        return first.numCompletedTasks if first is not None else 0, sum(stage.numActiveTasks for stage in known)


def _stages(tracker: Any, job: int) -> Sequence[int]:
    info = tracker.getJobInfo(job)
    return info.stageIds if info is not None else ()


@contextmanager
def _context(master: str) -> "Iterator[SparkContext]":
    """Connect to the master, with our modules on all executors. Raises SparkFailed."""
    try:
        from py4j.protocol import Py4JError
        from pyspark import SparkConf, SparkContext
        from pyspark.errors import PySparkException
    except ImportError:
        raise SparkFailed("--spark needs the package pyspark: pip install 'sluice[spark]'") from None
    java = os.path.join(os.environ.get("JAVA_HOME", ""), "bin", "java")
    if shutil.which(java) is None and shutil.which("java") is None:
        raise SparkFailed("--spark needs Java 17 or newer (Debian: openjdk-17-jre-headless)")
    if master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf().setMaster(master).setAppName("sluice count").set("spark.ui.showConsoleProgress", "false")
    # Executors start Python with -m: modules of the folder that they are in would replace those of Python.
    conf.setExecutorEnv("PYTHONSAFEPATH", "1")
    for name, value in (("spark.ui.enabled", "false"), ("spark.log.level", "ERROR")):
        conf.setIfMissing(name, value)
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder, tempfile.TemporaryFile() as log:
        # Else pyspark's own handler would stay, which asks Java for something first.
        interrupt = signal.getsignal(signal.SIGINT)
        # What py4j logs of an interrupt, with its traceback, is not for users.
        logging.disable()
        context = None
        try:
            with _errors_to(log):
                context = SparkContext(conf=conf)
            signal.signal(signal.SIGINT, interrupt)
            context.addPyFile(str(write_modules(Path(folder))))
            yield context
        except (Py4JError, PySparkException) as error:
            raise SparkFailed(f"{_reason(error)}{_last_error(log)}") from None
        finally:
            if context is not None:
                _stop(context)
            logging.disable(logging.NOTSET)


def _stop(context: "SparkContext") -> None:
    """Disconnect; a cluster that does not answer cannot hold up the command, with which Java ends."""
    thread = threading.Thread(target=context.stop, name="spark-stop", daemon=True)
    thread.start()
    thread.join(_STOP)


@contextmanager
def _errors_to(log: BinaryIO) -> Iterator[None]:
    """Have Java, which is started meanwhile, write its log there."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def write_modules(folder: Path) -> Path:
    """Write an archive of the modules that executors import, and return its path."""
    path = folder / "sluice_executor.zip"
    source = Path(service.__file__).parent
    with zipfile.ZipFile(path, "w") as archive:
        for name in MODULES:
            archive.write(source / f"{name}.py", f"service/{name}.py")
    return path


def _reason(error: Exception) -> str:
    """Return the one line of an error of Java's, or of Python's on an executor, that says what is wrong."""
    text = str(error)
    raised = re.search(r"^(?!Caused by|An error)[\w.]*(?:Error|Exception): .+", text, re.MULTILINE)
    if raised is not None:
        return raised[0][:400]
    lines = [line.strip(": ") for line in text.splitlines() if line.strip(": ")]
    return (lines[1] if len(lines) > 1 and lines[0].startswith("An error") else lines[0] if lines else repr(error))[
        :400
    ]


def _last_error(log: BinaryIO) -> str:
    """Return the last error of Java's log, or where there is none its last line with an exception."""
    log.seek(0)
    text = log.read().decode("utf-8", "replace")
    lines = re.findall(r"ERROR (.+)", text) or re.findall(r"^(?!\s).*(?:Exception|Error): .+", text, re.MULTILINE)
    return f"; Java says: {lines[-1].strip()[:300]}" if lines else ""
