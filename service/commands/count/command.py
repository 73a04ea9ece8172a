"""The command itself: has the files counted, reports what could not be read, and prints the result."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Final

import orjson

from service.commands.count.options import MOST_PROCESSES
from service.commands.fetch.tally import shown
from service.commands.progress_line import ProgressLine
from service.commands.units import size_text
from service.commands.writing import print_all
from service.runtime.signals import handling
from service.work.counting import KeyCounts
from service.work.file_counts.files import parts_of, size_of
from service.work.file_counts.processes import CountingFailed, Processes
from service.work.file_counts.spark import SparkFailed, count_by_spark
from service.work.line_keys import LineKeys

__all__ = ["KEYS", "count"]

KEYS: Final = 1_000_000
"""Distinct keys up to which all is exact."""
_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def count(options: Namespace) -> int:
    """Run the command and return its exit code; its help lists the codes."""
    files = options.files or ["-"]
    if wrong := _misused(options, files):
        return _complain(wrong, _USAGE)
    try:
        with handling(dict.fromkeys(_SIGNALS, _interrupt)):
            return _Counting(options).run(files)
    except (CountingFailed, SparkFailed) as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"a process cannot be started: {error.strerror}")
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)


def _misused(options: Namespace, files: Sequence[str]) -> str:
    """Return what is wrong with the command line."""
    if options.separator is not None and options.regex is not None:
        return "--separator goes with --field"
    if options.spark is not None and "-" in files:
        return "--spark reads files, not standard input: each machine of the cluster opens them itself"
    if options.spark is not None and options.processes is not None:
        return "--processes goes without --spark: the cluster has its own"
    return "no files: give some, or - for standard input" if not options.files and sys.stdin.isatty() else ""


class _Counting:
    """One run."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        what, text = ("counting", size_text) if options.spark is None else ("counting parts", str)
        self._progress = ProgressLine(what, text, quiet=options.quiet)
        self._read = 0
        self._total: int | None = 0
        self._missed: set[str] = set()

    def run(self, names: Sequence[str]) -> int:
        """Count the files and print the result; return the exit code."""
        options = self._options
        keys = LineKeys(options.field, options.regex, options.separator)
        with self._progress:
            result = self._by_processes(names, keys) if options.spark is None else self._by_spark(names, keys)
        if self._missed:
            result["missed"] = len(self._missed)
        code = print_all(orjson.dumps(result) + b"\n" if options.json else _table(result), _complain)
        if not (code or options.json or options.quiet):
            sys.stderr.write(f"{_summary(result)}\n")
        return code or (_FAILED if self._missed else 0)

    def _by_processes(self, names: Sequence[str], keys: LineKeys) -> dict[str, Any]:
        counts = KeyCounts(KEYS)
        most = self._options.processes or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
        self._total = size_of(names)
        with Processes(most, keys, counts, self._progressed, self._failed, self._lost) as processes:
            processes.run(parts_of(names, self._failed))
        return counts.summary(self._options.top)

    def _by_spark(self, names: Sequence[str], keys: LineKeys) -> dict[str, Any]:
        options = self._options
        return count_by_spark(options.spark, names, keys, options.top, self._progress.report, self._failed)

    def _progressed(self, size: int) -> None:
        self._read += size
        self._progress.report(self._read, self._total)

    def _failed(self, name: str, why: str) -> None:
        if name not in self._missed:  # a file has several parts
            self._missed.add(name)
            self._lost(f"{os.fsencode(name).decode('utf-8', 'backslashreplace')}: {why}")

    def _lost(self, what: str) -> None:
        self._progress.clear()
        _complain(what)


def _table(result: Mapping[str, Any]) -> bytes:
    width = max((len(f"{one['count']:,}") for one in result["top"]), default=0)
    return "".join(f"{one['count']:>{width},}  {shown(one['key'])}\n" for one in result["top"]).encode()


def _summary(result: Mapping[str, Any]) -> str:
    skipped = f" ({result['skipped']:,} without a key)" if result["skipped"] else ""
    lines = f"{_plural(result['lines'], 'line')}{skipped}"
    keys = _plural(result["keys"], "distinct key")
    if result["exact"]:
        return f"{lines}, {keys}"
    return (
        f"{lines}, at least {keys}: more than fit, so that each count may be too low "
        f"by {result['error_bound']:,} at most"
    )


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _complain(text: str, code: int = _FAILED) -> int:
    sys.stderr.write(f"sluice: {shown(text)}\n")
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
