"""Drain: SIGTERM with 10,000 readers, 100 batches and 100 watches, while messages are published."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from typing import Any

from bench.processes import Child

__all__ = ["add_options", "drained", "run", "wrong"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--watches", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0, help="messages a second to all readers")
    parser.add_argument("--drain", type=float, default=10.0)


def run(options: Namespace) -> dict[str, Any]:
    """Drain once, print the outcome of it, and return it; raises RuntimeError where the service broke its word."""
    figures, broken = drained(options)
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    if broken:
        raise RuntimeError("; ".join(broken))
    return figures


def drained(options: Namespace) -> tuple[dict[str, Any], list[str]]:
    """Drain once; return the outcome of it, and what the service owed and did not do."""
    origin = Child([sys.executable, "-m", "loadtest", "origin", "--port", "0"], core=1)
    upstream = origin.line().split()[-1]
    peers = options.readers + options.batches + options.watches
    server = Child(
        [sys.executable, "-m", "service", "serve", "--port", "0", "--drain", str(options.drain), "--allow-net",
         "127.0.0.0/8", "--allow-port", upstream.rsplit(":", 1)[1], "--websockets", str(peers + 1)],
        core=0,
    )  # fmt: skip
    url = server.line().split()[-1]
    counts = [str(options.readers), str(options.batches), str(options.watches), str(options.rate)]
    crowd = Child([sys.executable, "-m", "bench.crowd", url, upstream, *counts], core=1)
    try:
        connected = float(crowd.line().split()[1])
        time.sleep(3)  # of publishing
        begin = time.monotonic()
        # taskset becomes the program that it starts, so that its id is the service's.
        crowd.write_line(str(server.process.pid))
        code = server.process.wait(options.drain + 30)
        seconds = time.monotonic() - begin
        report = json.loads(crowd.line())
    finally:
        for child in (crowd, server, origin):
            child.stop()
    figures = {"connected_seconds": connected, "exit": code, "exit_seconds": round(seconds, 2), **report}
    return figures, wrong(report, readers=options.readers, batches=options.batches, watches=options.watches)


def wrong(report: dict[str, Any], *, readers: int, batches: int, watches: int) -> list[str]:
    """Name what a drain owes to a crowd and did not do."""
    peers = readers + batches + watches
    owed = {
        "peers": peers, "readyz_when_notified": 503, "notified_once": peers, "closed_1001": peers, "still_open": 0,
        "holes": 0, "missing_what_was_accepted_before": 0, "batches_whole": batches,
    }  # fmt: skip
    return [f"{name}: {report[name]} instead of {value}" for name, value in owed.items() if report[name] != value]
