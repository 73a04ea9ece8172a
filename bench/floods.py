"""Floods: what healthy clients notice of one that sends too much, connects too slowly, or guesses tokens."""

import json
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import connect

from bench.processes import Child, build, descriptors, settle
from bench.servers import Sluice, message

__all__ = ["add_options", "run"]

_TOKEN = "right"
_PORT = 18_700


class _Server(Sluice):
    """Ours, behind a proxy as it believes, so that limits by address count for the offender alone."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.token = "--auth-time" in options
        super().__init__(_PORT)

    def command(self) -> list[str]:
        return [*super().command(), "--trust-proxy", "127.0.0.1/32", *self._options]

    def environment(self) -> dict[str, str]:
        return {"SLUICE_TOKEN": _TOKEN} if self.token else {}

    @property
    def headers(self) -> dict[str, str]:
        """What a healthy client shows."""
        return {"Authorization": f"Bearer {_TOKEN}"} if self.token else {}

    def wait(self) -> None:
        self.child.line()
        uri = f"ws://127.0.0.1:{self.port}/ws"
        self._publisher = connect(
            uri, compression=None, ping_interval=None, additional_headers=self.headers, proxy=None
        )


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=200, help="healthy ones")
    # A thousand messages in a phase, so that more than a handful decide on the p99.
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second to each of them")
    parser.add_argument("--seconds", type=float, default=20.0, help="before, during and after")
    parser.add_argument("--flood", type=int, default=50_000, help="messages a second of the offender")
    parser.add_argument("--slow", type=int, default=2000, help="handshakes that never end")
    parser.add_argument("--strangers", type=int, default=5000, help="clients that show no credentials")
    parser.add_argument("--tokens", type=int, default=50_000, help="wrong tokens")
    parser.add_argument("--only", choices=("requests", "pings", "churn", "handshakes", "strangers", "tokens"))


def run(options: Namespace) -> dict[str, Any]:
    """Measure each offender, print the figures, and return them."""
    # The server has core 0 for itself.
    os.sched_setaffinity(0, {1})
    protected = ("--auth-time", "5")
    cases: dict[str, tuple[int, tuple[str, ...]]] = {
        "requests": (options.flood, ()),
        "pings": (options.flood, ()),
        "churn": (options.flood, ()),
        "handshakes": (options.slow, ("--handshake-time", str(min(15.0, options.seconds / 2)))),
        "strangers": (options.strangers, protected),
        "tokens": (options.tokens, protected),
    }
    return {
        kind: _one(kind, count, settings, options)
        for kind, (count, settings) in cases.items()
        if options.only in (None, kind)
    }


def _one(kind: str, count: int, settings: tuple[str, ...], options: Namespace) -> dict[str, Any]:
    server = _Server(*settings)
    others: list[Child] = []
    try:
        headers = "".join(f"{name}: {value}\r\n" for name, value in server.headers.items())
        crowd = Child(
            [build("receiver"), "127.0.0.1", str(server.port), str(options.clients), "/ws", "sluice.v1",
             server.subscribe],
            core=1,
            env={"EXTRA_HEADERS": headers},
        )  # fmt: skip
        crowd.line()
        settle(server.child)
        resident, opened = server.child.resident(), descriptors(server.child)
        numbers = iter(range(1, 1 << 30))
        newcomers = Child(
            [sys.executable, "-m", "bench.newcomers", str(server.port), *([_TOKEN] if server.token else [])], core=1
        )
        others.append(newcomers)
        before = _phase(server, crowd, numbers, options)
        offender = Child(
            [sys.executable, "-m", "bench.offender", kind, str(server.port), str(count), str(options.seconds)],
            core=1,
        )
        others.append(offender)
        newcomers.write_line("")
        during = _phase(server, crowd, numbers, options)
        reported = json.loads(offender.line())
        newcomers.write_line("")
        came = json.loads(newcomers.line())
        settle(server.child)
        after = _phase(server, crowd, numbers, options)
        left = server.child.resident(), descriptors(server.child)
        crowd.stop()
    finally:
        for child in others:
            child.stop()
        server.stop()
    row = {
        "before": before, "during": during, "after": after,
        "ratio_p99": during["p99_ms"] / before["p99_ms"],
        **came,
        "more_resident_mib": (during["resident"] - resident) / (1 << 20),
        "more_resident_after_mib": (left[0] - resident) / (1 << 20),
        "more_descriptors_after": left[1] - opened,
        "offender": reported,
    }  # fmt: skip
    _show(kind, count, row)
    return row


def _phase(server: _Server, crowd: Child, numbers: Iterator[int], options: Namespace) -> dict[str, Any]:
    """Publish for a while; return what the healthy had of it, and the most memory that it took."""
    count, begin, most = int(options.rate * options.seconds), time.monotonic() + 0.05, 0
    for place in range(count):
        due = begin + place / options.rate
        time.sleep(max(0.0, due - time.monotonic()))
        server.publish(message(next(numbers), int(due * 1e9), 150 - server.overhead))
        if place % 10 == 0:
            most = max(most, server.child.resident())
    settle(server.child, most=3.0)
    crowd.write_line("")
    report = json.loads(crowd.line())
    return {
        "p50_ms": report["p50_ms"],
        "p99_ms": report["p99_ms"],
        "missing": count * options.clients - report["received"],
        "repeated": report["repeated"],
        "closed": report["closed"],
        "resident": most,
    }


def _show(kind: str, count: int, row: dict[str, Any]) -> None:
    p50 = " / ".join(f"{row[phase]['p50_ms']:.2f}" for phase in ("before", "during", "after"))
    p99 = " / ".join(f"{row[phase]['p99_ms']:.2f}" for phase in ("before", "during", "after"))
    missing = sum(row[phase]["missing"] for phase in ("before", "during", "after"))
    print(f"{kind} {count:,}: the healthy before / during / after: p50 {p50} ms, p99 {p99} ms "
          f"({row['ratio_p99']:.2f} times), {missing} missing; {row['new_upgrades']} new upgrades, the slowest "
          f"{row['slowest_upgrade_ms']:.0f} ms, {row['new_upgrades_failed']} failed; resident "
          f"+{row['more_resident_mib']:.1f} MiB, afterwards +{row['more_resident_after_mib']:.1f} MiB and "
          f"{row['more_descriptors_after']:+d} descriptors; the offender: {row['offender']}")  # fmt: skip
