"""Fan-out: one message to every client, and a stream of them, beside the servers that others wrote.

All servers of a comparison are alive at once, each with all of its clients, on one core; the receivers
and the publisher have the other. A round gives every server the same few messages in turn, so that a
ratio compares what was measured within seconds of each other; the table shows medians over the rounds.
"""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.processes import Child, build, settle
from bench.servers import PEERS, Server, Sluice, message

__all__ = ["add_options", "run"]


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


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=5, help="a round, two a second")
    parser.add_argument("--size", type=int, default=150, help="bytes of a message")
    parser.add_argument("--sustained", type=float, default=30.0, help="seconds of each rate; 0 for none")
    parser.add_argument("--rates", type=float, nargs="*", default=[20.0, 200.0])
    parser.add_argument("--peers", nargs="*", help=f"of {', '.join(peer.name for peer in PEERS)}; default all")


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    entrants: list[Entrant] = []
    kinds: list[type[Server]] = [Sluice, *_peers(options.peers)]
    try:
        for number, kind in enumerate(kinds):
            entrants.append(_enter(kind, 18100 + number, options.clients))
        for number in range(options.rounds):
            # Whoever comes first may find a slower machine than whoever comes last: take turns.
            turn = number % len(entrants)
            for entrant in entrants[turn:] + entrants[:turn]:
                _round(entrant, options)
            print(f"  round {number + 1} of {options.rounds}", file=sys.stderr)
        table = _table(entrants)
        for entrant in entrants[1:]:
            _leave(entrant)
        rates = [_sustain(entrants[0], rate, options) for rate in options.rates if options.sustained]
    finally:
        for entrant in entrants:
            _leave(entrant)
    return {"clients": options.clients, "rounds": options.rounds, "broadcast": table, "sustained": rates}


def _peers(names: Iterable[str] | None) -> list[type[Server]]:
    chosen = [peer for peer in PEERS if names is None or peer.name in names]
    for peer in chosen:
        if peer.missing():
            print(f"bench: without {peer.name}: install {peer.missing()}", file=sys.stderr)
    return [peer for peer in chosen if not peer.missing()]


def _enter(kind: type[Server], port: int, clients: int) -> Entrant:
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


def _leave(entrant: Entrant) -> None:
    entrant.receivers.stop()
    entrant.server.stop()


def _send(entrant: Entrant, count: int, rate: float, size: int) -> dict[str, Any]:
    """Publish ``count`` messages at their times and return what the receivers say of them."""
    begin = time.monotonic() + 0.05
    for number in range(count):
        due = begin + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        entrant.sent += 1
        entrant.server.publish(message(entrant.sent, int(due * 1e9), size - entrant.server.overhead))
    settle(entrant.server.child)
    entrant.receivers.say("")
    report: dict[str, Any] = json.loads(entrant.receivers.line())
    return report


def _round(entrant: Entrant, options: Namespace) -> None:
    before = entrant.server.child.cpu()
    report = _send(entrant, options.messages, 2.0, options.size)
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


def _sustain(entrant: Entrant, rate: float, options: Namespace) -> dict[str, Any]:
    server, before = entrant.server.child.cpu(), 0.0
    entrant.receivers.say("")
    before = json.loads(entrant.receivers.line())["cpu_s"]
    report = _send(entrant, int(rate * options.sustained), rate, options.size)
    used = entrant.server.child.cpu() - server
    row = {
        "rate": rate,
        "seconds": options.sustained,
        "deliveries": report["received"],
        "missing": int(rate * options.sustained) * options.clients - report["received"],
        "repeated": report["repeated"],
        **{name: report[name] for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")},
        "server_core": used / options.sustained,
        "receiver_core": (report["cpu_s"] - before) / options.sustained,
    }
    print(
        f"\n{rate:g}/s for {options.sustained:g} s: "
        + ", ".join(f"{name} {_figure(value)}" for name, value in row.items())
    )
    return row


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
