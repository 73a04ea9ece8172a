"""The load generator: what a socket and a message cost it, and whether what it says is so.

The service has core 0, what receives core 1. Beside it, on the same core and the same service, the C program of
the fan-out benchmark, which has no accounts of 10,000 clients to keep, no supervisor and no Python. Agreement
is measured where both receive from the same server at the same time: one that sends each message in
a new random order, so that any part of its readers sees what all see.
"""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import Child, build, raise_descriptors
from bench.rounds import Entrant, enter, leave, send
from bench.servers import Nchan, Server, Sluice

__all__ = ["add_options", "cost", "loadtest", "run"]

_ROOT = Path(__file__).parent.parent
_SHUFFLING = _ROOT / "tests" / "end_to_end" / "faulty.py"
_PORT = 18_700
_SUBSCRIBE = '{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"loadtest/0"}}'


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rates", type=float, nargs="*", default=[4.0, 8.0, 20.0, 200.0])
    parser.add_argument("--duration", type=float, default=15.0, help="seconds of each rate")
    parser.add_argument("--rounds", type=int, default=3, help="in turns with the C program")
    parser.add_argument("--size", type=int, default=150)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    raise_descriptors()
    kib = _socket(options)
    print(f"KiB a socket: {kib:.1f}")
    return {
        "kib_per_socket": kib,
        "messages": _messages(options),
        "agreement": _agreement(options),
        "targets": _targets(options),
    }


def _socket(options: Namespace) -> float:
    """Return the KiB of resident memory that the generator needs for one more socket."""
    with _service() as url:
        few, many = (
            loadtest("idle", "--url", url, "--clients", str(count), "--duration", "5")["gauges"]["own_rss_mib_max"]
            for count in (100, options.clients)
        )
    return float((many - few) * 1024 / (options.clients - 100))


def _messages(options: Namespace) -> list[dict[str, Any]]:
    """Return what a message costs at each rate, ours and the C program's, medians over the rounds."""
    heads = ("a second", "C, us", "ours, us", "ours/C", "own CPU %", "p50 ms", "p99 ms", "lost")
    print("".join(f"{head:>11}" for head in heads))
    rows = []
    for rate in options.rates:
        turns = [(_in_c(options, rate), _ours(options, rate)) for _ in range(options.rounds)]
        row = {
            "rate": rate,
            "c_us": median(c for c, _ in turns),
            "ours_us": median(ours["us"] for _, ours in turns),
            "ratio": median(ours["us"] / c for c, ours in turns),
            **{name: median(ours[name] for _, ours in turns) for name in ("cpu_percent", "p50_ms", "p99_ms")},
            "lost": sum(ours["lost"] for _, ours in turns),
        }
        rows.append(row)
        print("".join(f"{value:>11,.2f}" for value in row.values()))
    return rows


def _in_c(options: Namespace, rate: float) -> float:
    entrant: Entrant = enter(Sluice, _PORT, options.clients)
    try:
        entrant.receivers.write_line("")
        before = json.loads(entrant.receivers.line())["cpu_s"]
        report = send(entrant, int(rate * options.duration), rate, options.size)
        return float((report["cpu_s"] - before) / report["received"] * 1e6)
    finally:
        leave(entrant)


def _ours(options: Namespace, rate: float) -> dict[str, float]:
    with _service() as url:
        report = loadtest("broadcast", "--url", url, "--clients", str(options.clients), "--rate", f"{rate:g}",
                          "--duration", f"{options.duration:g}", "--size", str(options.size))  # fmt: skip
    seconds, share = cost(report, rate * options.clients)
    return {
        "us": seconds * 1e6,
        "cpu_percent": share * 100,
        "p50_ms": report["latency_ms"]["delivery"]["p50"],
        "p99_ms": report["latency_ms"]["delivery"]["p99"],
        "lost": report["checks"]["lost"],
    }


def cost(report: dict[str, Any], rate: float) -> tuple[float, float]:
    """Return the generator's CPU seconds a message, and its share of a core, where ``rate`` are delivered a second.

    Of whole seconds of load: at the first and the last something else was going on. Raises RuntimeError.
    """
    whole = [moment for moment in report["timeline"]
             if "own_cpu_percent" in moment and moment.get("delivered", 0) > rate / 2][1:]  # fmt: skip
    if not whole:
        raise RuntimeError(
            f"no second had half of {rate:,.0f} deliveries: a longer --duration, or a faster machine"
        )
    seconds = sum(moment["own_cpu_percent"] for moment in whole) / 100
    return seconds / sum(moment["delivered"] for moment in whole), seconds / len(whole)


def _agreement(options: Namespace) -> list[dict[str, Any]]:
    """Return p50 and p99 of both receivers of the same broadcasts, a round each."""
    rows = []
    print("".join(f"{head:>11}" for head in ("C p50", "ours p50", "ratio", "C p99", "ours p99", "ratio")))
    for _ in range(options.rounds):
        with _child([sys.executable, str(_SHUFFLING), "shuffle"], {"PYTHONPATH": str(_ROOT)}) as (_, url):
            receiver = Child(
                [build("receiver"), "127.0.0.1", url.rsplit(":", 1)[1], "500", "/ws", "", _SUBSCRIBE], core=1
            )
            receiver.line()
            ours = loadtest("broadcast", "--url", url, "--clients", "500", "--rate", "20", "--duration", "20",
                            "--warm-up", "0")["latency_ms"]["delivery"]  # fmt: skip
            receiver.write_line("")
            theirs = json.loads(receiver.line())
            receiver.stop()
        row = {f"{name}_{who}": value for name in ("p50", "p99")
               for who, value in (("c_ms", theirs[f"{name}_ms"]), ("ours_ms", ours[name]),
                                  ("ratio", ours[name] / theirs[f"{name}_ms"]))}  # fmt: skip
        rows.append(row)
        print("".join(f"{value:>11.3f}" for value in row.values()))
    return rows


def _targets(options: Namespace) -> list[dict[str, Any]]:
    """Return what the same scenario says of sluice and of Nchan, by their adapters, in turns."""
    kinds: dict[str, type[Server]] = {"sluice": Sluice, "nchan": Nchan}
    if Nchan.missing():
        print(f"bench: without Nchan: install {Nchan.missing()}", file=sys.stderr)
        del kinds["nchan"]
    print("".join(f"{head:>14}" for head in ("target", "p50 ms", "p99 ms", "last p50 ms", "server CPU %", "lost")))
    rows = []
    for name, kind in [*kinds.items()] * options.rounds:
        server = kind(_PORT)
        try:
            report = loadtest("broadcast", "--target", name, "--url", f"http://127.0.0.1:{_PORT}", "--rate", "4",
                              "--clients", str(options.clients), "--duration", f"{options.duration:g}")  # fmt: skip
        finally:
            server.stop()
        latency = report["latency_ms"]
        row = {
            "target": name,
            "p50_ms": latency["delivery"]["p50"],
            "p99_ms": latency["delivery"]["p99"],
            "last_p50_ms": latency["last_delivery"]["p50"],
            "server_cpu_percent": report["gauges"]["server_cpu_percent"],
            "lost": report["checks"]["lost"],
        }
        rows.append(row)
        print("".join(f"{value:>14}" for value in row.values()))
    return rows


def loadtest(*arguments: str) -> dict[str, Any]:
    """Run the generator on core 1 and return its report; raises RuntimeError with what it said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = ["taskset", "-c", "1", sys.executable, "-m", "loadtest", *arguments, "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}")
        report: dict[str, Any] = json.loads(path.read_bytes())
        return report


@contextmanager
def _service() -> Iterator[str]:
    with _child([sys.executable, "-m", "service", "serve", "--port", "0"], {}) as (_, url):
        yield url


@contextmanager
def _child(argv: Sequence[str], env: dict[str, str]) -> Iterator[tuple[Child, str]]:
    child = Child(argv, core=0, env=env)
    try:
        yield child, child.line().split("listening on")[1].strip()
    finally:
        child.stop(15)
