"""Fan-out: one message to every client, and a stream of them, beside the servers that others wrote.

All servers of a comparison are alive at once, each with all of its clients, on one core; the receivers
and the publisher have the other. A round gives every server the same few messages in turn, so that a
ratio compares what was measured within seconds of each other; the table shows medians over the rounds.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.rounds import Entrant, add_round_options, compared, leave, send
from bench.servers import PEERS, Server, Sluice

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_round_options(parser)
    parser.add_argument("--sustained", type=float, default=30.0, help="seconds of each rate; 0 for none")
    parser.add_argument("--rates", type=float, nargs="*", default=[20.0, 200.0])
    parser.add_argument("--beside", nargs="*", default=[], metavar="DIR", help="checkouts whose service takes part")
    parser.add_argument("--peers", nargs="*", help=f"of {', '.join(peer.name for peer in PEERS)}; default all")


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    others = [_of(Path(checkout).absolute()) for checkout in options.beside]
    with compared([Sluice, *others, *_peers(options.peers)], options) as (entrants, table):
        for entrant in entrants[1:]:
            leave(entrant)
        rates = [_sustain(entrants[0], rate, options) for rate in options.rates if options.sustained]
    return {"clients": options.clients, "rounds": options.rounds, "broadcast": table, "sustained": rates}


def _of(checkout: Path) -> type[Server]:
    class Other(Sluice):
        """The service of another checkout: an earlier version, or one with a change."""

        name = checkout.name

        def environment(self) -> dict[str, str]:
            # Otherwise the working directory, which is this checkout, would come first.
            return {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}

    return Other


def _peers(names: Iterable[str] | None) -> list[type[Server]]:
    chosen = [peer for peer in PEERS if names is None or peer.name in names]
    for peer in chosen:
        if peer.missing():
            print(f"bench: without {peer.name}: install {peer.missing()}", file=sys.stderr)
    return [peer for peer in chosen if not peer.missing()]


def _sustain(entrant: Entrant, rate: float, options: Namespace) -> dict[str, Any]:
    server, before = entrant.server.child.cpu(), 0.0
    entrant.receivers.write_line("")
    before = json.loads(entrant.receivers.line())["cpu_s"]
    report = send(entrant, int(rate * options.sustained), rate, options.size)
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
