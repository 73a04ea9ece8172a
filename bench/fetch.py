"""Fetching: 10,000 URLs of 1 KiB from a local nginx, by fetch-batch and by what one would write by hand.

nginx and the caller have one core; the service and the bare clients take turns on the other. URLs are new in
each round, so that nothing comes from the cache; what comes from it is measured by itself.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import Child
from bench.upstream import PEERS, PORT, upstream, url

__all__ = ["add_options", "run"]

_SERVICE = 18201


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--urls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    # The caller must not take time from the service, whose core the other clients have alone.
    os.sched_setaffinity(0, {1})
    with upstream():
        return _measure(options)


def _measure(options: Namespace) -> dict[str, Any]:
    service = Child(
        [sys.executable, "-m", "service", "serve", "--port", str(_SERVICE), "--allow-net", "127.0.0.0/8",
         "--allow-port", str(PORT), "--upstream-host", "105"],
        core=0,
    )  # fmt: skip
    times: dict[str, list[float]] = {"fetch-batch": []}
    peers: dict[str, Callable[[], float]] = {
        "100 workers": lambda: _bare("fetch_bare.py", "workers", str(PORT), str(options.urls)),
        "one gather": lambda: _bare("fetch_bare.py", "gather", str(PORT), str(options.urls)),
        "10 threads": lambda: _bare("fetch_threads.py", "get", str(PORT), str(options.urls)),
        "10 with sessions": lambda: _bare("fetch_threads.py", "session", str(PORT), str(options.urls)),
    }
    if shutil.which("curl"):
        peers["curl --parallel"] = lambda: _curl(options.urls)
    try:
        service.line()
        idle = service.resident()
        _batch(_urls("first", options.urls))  # connections are made, code is warm
        peak = service.peak() - idle
        for number in range(options.rounds):
            times["fetch-batch"].append(_batch(_urls(f"r{number}", options.urls)))
            for name, measure in peers.items():
                times.setdefault(name, []).append(measure())
            print(f"  round {number + 1} of {options.rounds}", file=sys.stderr)
        copies = [url("fresh")] * options.urls
        times["copies, fresh"] = [_batch(copies) for _ in range(options.rounds)]
    finally:
        service.stop()
    print(f"\n{'client':18}{'s':>8}{'URLs/s':>9}{'fetch-batch/it':>16}")
    rows = []
    for name, seconds in times.items():
        ratio = median(ours / its for ours, its in zip(times["fetch-batch"], seconds, strict=True))
        rows.append({"client": name, "seconds": median(seconds), "ratio": ratio, "all": seconds})
        print(f"{name:18}{median(seconds):8.2f}{options.urls / median(seconds):9.0f}{ratio:16.2f}")
    print(
        f"peak memory above idle, one batch of {options.urls:,} with its events and cache: {peak / 2**20:.1f} MiB"
    )
    return {"urls": options.urls, "rounds": options.rounds, "table": rows, "peak_mib": peak / 2**20}


def _urls(name: str, count: int) -> list[str]:
    return [url(f"{name}/u{number}") for number in range(count)]


def _batch(urls: list[str]) -> float:
    """Post one batch, read its NDJSON to the end, and return the seconds."""
    count, body = len(urls), json.dumps({"urls": urls})
    connection = http.client.HTTPConnection("127.0.0.1", _SERVICE)
    headers = {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
    begin = time.monotonic()
    connection.request("POST", "/fetch-batch", body, headers)
    answer, pieces = connection.getresponse(), []
    while piece := answer.read1(1 << 18):
        pieces.append(piece)
    seconds = time.monotonic() - begin
    connection.close()
    lines = b"".join(pieces).split(b"\n")
    done = json.loads(lines[-2])
    if len(lines) != count + 2 or done["ok"] != count or done["by_status"] != {"200": count}:
        raise RuntimeError(f"{len(lines)} lines, the last is {done}")
    return seconds


def _bare(*command: str) -> float:
    child = Child([sys.executable, str(PEERS / command[0]), *command[1:]], core=0)
    try:
        return float(child.line())
    finally:
        child.stop()


def _curl(count: int) -> float:
    """Return the seconds of one curl for all, 100 at once, its start included."""
    config = Path(".bench/curl.conf")
    config.write_text("".join(f'url = "{address}"\noutput = "/dev/null"\n' for address in _urls("c", count)))
    command = [
        "taskset",
        "-c",
        "0",
        "curl",
        "-s",
        "-S",
        "--no-progress-meter",
        "--parallel",
        "--parallel-max",
        "100",
        "-K",
        str(config),
    ]
    begin = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - begin
