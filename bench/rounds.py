"""Servers side by side: all alive at once, each with all of its clients, measured in rounds of turns."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.processes import Child, build, settle
from bench.servers import Server, message

__all__ = ["Entrant", "add_round_options", "compared", "enter", "leave", "send"]


@dataclass
class Entrant:
    """A server with its receivers, and what was measured of it."""

    server: Server
    receivers: Child
    connect_s: float
    kib: float
    sent: int = 0
    last_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def add_round_options(parser: ArgumentParser) -> None:
    """Declare what a comparison needs."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=5, help="a round, two a second")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message")


@contextmanager
def compared(
    kinds: Sequence[type[Server]], options: Namespace
) -> Iterator[tuple[list["Entrant"], list[dict[str, Any]]]]:
    """Measure, print the table, and yield the servers, still alive, and the figures."""
    entrants: list[Entrant] = []
    try:
        for number, kind in enumerate(kinds):
            entrants.append(enter(kind, 18100 + number, options.clients))
        for number in range(options.rounds):
            # The first may find a slower machine than the last: take turns.
            turn = number % len(entrants)
            for entrant in entrants[turn:] + entrants[:turn]:
                _round(entrant, options)
            print(f"  round {number + 1} of {options.rounds}", file=sys.stderr)
        yield entrants, _table(entrants)
    finally:
        for entrant in entrants:
            leave(entrant)


def enter(kind: type[Server], port: int, clients: int) -> Entrant:
    """Start a server and connect its clients."""
    server = kind(port)
    settle(server.child)
    before = server.child.resident()
    receivers = Child(
        [build("receiver"), "127.0.0.1", str(port), str(clients), server.path, server.protocol, server.subscribe],
        core=1,
    )
    seconds = float(receivers.line().split()[1])
    settle(server.child)
    kib = (server.child.resident() - before) / clients / 1024
    print(f"  {server.name}: {clients} clients in {seconds:.1f} s", file=sys.stderr)
    return Entrant(server, receivers, seconds, kib)


def leave(entrant: Entrant) -> None:
    """End both."""
    entrant.receivers.stop()
    entrant.server.stop()


def send(entrant: Entrant, count: int, rate: float, size: int) -> dict[str, Any]:
    """Publish ``count`` messages at their times and return what the receivers say of them."""
    begin = time.monotonic() + 0.05
    for number in range(count):
        due = begin + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        entrant.sent += 1
        entrant.server.publish(message(entrant.sent, int(due * 1e9), size - entrant.server.overhead))
    settle(entrant.server.child)
    entrant.receivers.write_line("")
    report: dict[str, Any] = json.loads(entrant.receivers.line())
    return report


def _round(entrant: Entrant, options: Namespace) -> None:
    before = entrant.server.child.cpu()
    report = send(entrant, options.messages, 2.0, options.size)
    if report["received"] != options.messages * options.clients:
        raise RuntimeError(f"{entrant.server.name} delivered {report}")
    entrant.last_ms.append(report["mean_last_ms"])
    entrant.cpu_us.append((entrant.server.child.cpu() - before) / report["received"] * 1e6)


def _table(entrants: list[Entrant]) -> list[dict[str, Any]]:
    ours = entrants[0]
    heads = "".join(
        f"{head:>15}" for head in ("last ms", "CPU us", "ours/its last", "ours/its CPU", "KiB", "connect s")
    )
    print(f"\n{'server':14}{heads}")
    rows = []
    for entrant in entrants:
        last = median(a / b for a, b in zip(ours.last_ms, entrant.last_ms, strict=True))
        cpu = median(a / b for a, b in zip(ours.cpu_us, entrant.cpu_us, strict=True))
        row = {
            "server": entrant.server.name,
            "last_ms": median(entrant.last_ms),
            "cpu_us": median(entrant.cpu_us),
            "ratio_last": last,
            "ratio_cpu": cpu,
            "kib_per_connection": entrant.kib,
            "connect_s": entrant.connect_s,
        }
        rows.append(row)
        figures = (row["last_ms"], row["cpu_us"], last, cpu, entrant.kib, entrant.connect_s)
        print(f"{entrant.server.name:14}" + "".join(f"{figure:15.2f}" for figure in figures))
    return rows
