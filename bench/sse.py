"""Server-sent events: the readers of one process on this service and on Nchan, with the same account of each.

Server on core 0, readers on core 1, in turns. CPU a message is that of the process from the begin to the end of the
load by what was delivered; of the reading process, in the whole seconds of load.
"""

import sys
from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from bench.generator import cost, loadtest
from bench.processes import raise_descriptors
from bench.servers import Nchan, Server, Sluice

__all__ = ["add_options", "run"]

_PORT = 18_720
_WRONG = ("lost", "repeated", "reordered")
_COLUMNS = ("delivered", *_WRONG, "p50_ms", "p99_ms", "server_us", "own_us")


class SluiceStreams(Sluice):
    """Ours, with room for as many streams as there are readers."""

    ROOM = ("--websockets", "100", "--connections", "19500", "--upstream", "100")
    paths = ("/topics/{topic}/events", "/topics/{topic}")


class NchanStreams(Nchan):
    """Nchan's EventSource subscribers."""

    paths = ("/events", "/pub")


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=4.0, help="messages a second (default 4)")
    parser.add_argument("--duration", type=float, default=15.0, help="seconds of each run (default 15)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default 3)")
    parser.add_argument("--size", type=int, default=150)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures: medians over the rounds, sums of what went wrong."""
    raise_descriptors()
    kinds: dict[str, type[SluiceStreams | NchanStreams]] = {"sluice": SluiceStreams, "Nchan": NchanStreams}
    if NchanStreams.missing():
        print(f"bench: without Nchan: install {NchanStreams.missing()}", file=sys.stderr)
        del kinds["Nchan"]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for name, kind in [*kinds.items()] * options.rounds:
        rows[name].append(_row(kind, options))
    print("".join(f"{head:>12}" for head in ("server", *_COLUMNS)))
    found = {name: _together(some) for name, some in rows.items()}
    for name, row in found.items():
        print(f"{name:>12}" + "".join(f"{row[column]:>12,.2f}" for column in _COLUMNS))
    return {"clients": options.clients, "rate": options.rate, "servers": found, "rounds": rows}


def _row(kind: type[SluiceStreams | NchanStreams], options: Namespace) -> dict[str, float]:
    server: Server = kind(_PORT)
    path, publish = kind.paths
    try:
        report = loadtest(
            "broadcast", "--target", "sse", "--url", f"http://127.0.0.1:{_PORT}", "--path", path,
            "--publish-path", publish, "--clients", str(options.clients), "--rate", f"{options.rate:g}",
            "--duration", f"{options.duration:g}", "--size", str(options.size),
        )  # fmt: skip
    finally:
        server.stop()
    gauges, delivered = report["gauges"], report["counters"]["delivered"]
    latency = report["latency_ms"]["delivery"]
    return {
        "delivered": delivered,
        **{check: report["checks"][check] for check in _WRONG},
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "server_us": gauges["server_cpu_percent"] / 100 * gauges["load_s"] / delivered * 1e6,
        "own_us": cost(report, options.rate * options.clients)[0] * 1e6,
    }


def _together(rows: list[dict[str, float]]) -> dict[str, float]:
    of = {name: [row[name] for row in rows] for name in _COLUMNS}
    return {name: sum(some) if name in _WRONG else median(some) for name, some in of.items()}
