"""Addresses of an access log, counted: ``sluice count`` beside Counter, awk, DuckDB and Spark."""

import json
import shutil
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from bench.durability.figure import Figure
from bench.upstream import FOLDER, PEERS
from bench.work.log import write_log
from bench.work.running import ALL

__all__ = ["add_options", "run"]

_BAR: Final = 1.5
_MIB: Final = 300.0
_AWK: Final = "{n[$1]++} END {for (k in n) print n[k], k}"
_OURS: Final = "sluice count"
_COUNTER: Final = "one process with Counter"
_LOOK: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Took:
    seconds: float
    mib: float
    """The peak memory of all of its processes together."""
    top: list[tuple[int, str]]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--log-size", type=int, default=4096, metavar="MIB", help="of the log (default 4096)")
    parser.add_argument("--keep-log", action="store_true", help="leave the log in .bench for the next run")


def run(options: Namespace) -> Iterator[Figure]:
    """Count once with each; yield the figures."""
    log = FOLDER / f"access-{options.log_size}.log"
    FOLDER.mkdir(exist_ok=True)
    write_log(log, options.log_size)
    try:
        commands = dict(_commands(log))
        times: dict[str, list[_Took]] = {name: [] for name in commands}
        for number in range(options.rounds):
            for name, command in commands.items():
                if number and name not in (_OURS, _COUNTER):
                    continue  # these are for comparison, and slow: once is enough
                times[name].append(_timed(name, command))
                print(f"  count: {name} {times[name][-1].seconds:.1f} s", file=sys.stderr)
        yield from _figures(options, times)
    finally:
        if not options.keep_log:
            log.unlink()


def _commands(log: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield those that are installed, the first is ours."""
    yield _OURS, [sys.executable, "-m", "service", "count", str(log), "--field", "1", "--json"]
    yield _COUNTER, [sys.executable, str(PEERS / "count_counter.py"), str(log)]
    for awk in ("mawk", "gawk"):
        if shutil.which(awk):
            yield awk, ["sh", "-c", f"{awk} '{_AWK}' \"$0\" | sort -k1,1nr -k2 | head -20", str(log)]
            break
    for name, package, peer in (
        ("DuckDB", "duckdb", "count_duckdb.py"),
        ("Spark local[2]", "pyspark", "count_spark.py"),
    ):
        if find_spec(package):
            yield name, [sys.executable, str(PEERS / peer), str(log)]
        else:
            print(f"bench: without {name}: pip install {package}", file=sys.stderr)


def _timed(name: str, command: Sequence[str]) -> _Took:
    """Run a command; return its time, its memory, and what it found."""
    begin = time.monotonic()
    with subprocess.Popen(
        ["taskset", "-c", ALL, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "HOME": str(FOLDER)},
    ) as process:  # fmt: skip
        ended, peak = threading.Event(), [0]
        looking = threading.Thread(target=_look, args=(process.pid, ended, peak))
        looking.start()
        out, _ = process.communicate()
        seconds = time.monotonic() - begin
        ended.set()
        looking.join()
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    return _Took(seconds, peak[0] / 2**20, _top(out))


def _look(pid: int, ended: threading.Event, peak: list[int]) -> None:
    """Look at the memory of a process and all below it until it has ended; what they share counts once."""
    while not ended.wait(_LOOK):
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            peak[0] = max(peak[0], sum(one.memory_full_info().pss for one in family))
        except psutil.NoSuchProcess:
            continue  # one has ended meanwhile


def _top(out: str) -> list[tuple[int, str]]:
    """Return the most frequent keys, with their counts, from lines or from the JSON of ``sluice count``."""
    if out.startswith("{"):
        return [(one["count"], one["key"]) for one in json.loads(out)["top"]]
    pairs = (line.split(maxsplit=1) for line in out.splitlines())
    return [(int(count), key) for count, key in pairs]


def _figures(options: Namespace, times: dict[str, list[_Took]]) -> Iterator[Figure]:
    ours = times[_OURS]
    right = {name: all(one.top == ours[0].top for one in took) for name, took in times.items()}
    seconds = {name: median(one.seconds for one in took) for name, took in times.items()}
    load = f"{options.log_size:,} MiB of access log, the first field"
    for name, took in times.items():
        if name == _OURS:
            continue
        ratio = median(its.seconds / own.seconds for own, its in zip(ours, took, strict=False))
        counts = "the same counts" if right[name] else "**other counts**"
        held = right[name] and ratio >= _BAR if name == _COUNTER else right[name] if "awk" in name else None
        yield Figure(
            f"count: beside {name}", load, f"{seconds[_OURS]:.1f} s",
            f"{seconds[name]:.1f} s; {ratio:.2f} x; {max(one.mib for one in took):.0f} MiB; {counts}",
            f"{_BAR:g} x" if name == _COUNTER else "the same counts" if "awk" in name else "", held,
        )  # fmt: skip
    peak = max(one.mib for one in ours)
    yield Figure("count: memory", load, f"{peak:.0f} MiB, all processes", "", f"{_MIB:g} MiB", peak <= _MIB)
