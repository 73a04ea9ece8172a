"""Growth: what a delivery costs with more clients, and a publish with more topics."""

import http.client
import json
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from typing import Any

from websockets.sync.client import ClientConnection, connect

from bench.processes import Child, settle
from bench.rounds import compared
from bench.servers import Sender, Sluice

__all__ = ["add_options", "run"]

_PORT = 18400
_BELOW_PLAN = 99
"""The load generator's exit code for a failed threshold: the machine may be too slow for this load."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, nargs="*", default=[1000, 10_000, 19_000])
    parser.add_argument("--topics", type=int, nargs="*", default=[1, 1000, 100_000])
    parser.add_argument("--publishes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the tables, and return the figures."""
    clients = []
    for count in options.clients:
        print(f"\n{count} clients")
        sizes = Namespace(clients=count, rounds=options.rounds, messages=5, size=150)
        with compared([Sluice, Sender], sizes) as (_, table):
            clients.append({"clients": count, "table": table})
    print(f"\n{'idle topics':>12}{'CPU us a publish':>18}{'to the first':>14}")
    topics = _publish(options)
    for row in topics:
        print(f"{row['topics']:12}{row['cpu_us']:18.1f}{row['ratio']:14.3f}")
    return {"by_clients": clients, "by_topics": topics, "many_topics": _many(options)}


def _publish(options: Namespace) -> list[dict[str, Any]]:
    """Publish to one topic that one client reads, beside many idle topics; all servers alive, in turns."""
    servers: list[tuple[int, _Publishing]] = []
    try:
        for number, count in enumerate(options.topics):
            servers.append((count, _Publishing(_PORT + 1 + number)))
            servers[-1][1].fill(count)
        used = [[one.round(options.publishes) for _, one in servers] for _ in range(options.rounds)]
    finally:
        for _, one in servers:
            one.stop()
    return [
        {
            "topics": count,
            "cpu_us": median(row[n] for row in used),
            "ratio": median(row[n] / row[0] for row in used),
        }
        for n, count in enumerate(options.topics)
    ]


class _Publishing:
    """A service with idle topics, and a client that reads one topic and publishes to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: ClientConnection | None = None
        self.server = Child(
            [
                sys.executable,
                "-m",
                "service",
                "serve",
                "--port",
                str(port),
                "--topics",
                "200500",  # one client alone has half of them
                "--client-rate",
                "1e9",
            ],
            core=0,
        )
        self.server.line()

    def fill(self, idle: int) -> None:
        """Make the idle topics, and the client."""
        api = http.client.HTTPConnection("127.0.0.1", self.port)
        for begin in range(0, idle, 1000):
            body = json.dumps({"topics": [f"idle/{n}" for n in range(begin, min(begin + 1000, idle))], "data": 1})
            api.request("POST", "/publish", body, {"Content-Type": "application/json"})
            answer = api.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"/publish answered {answer.status}")
        api.close()
        self.socket = connect(f"ws://127.0.0.1:{self.port}/ws", compression=None, ping_interval=None)
        self.socket.send('{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"active"}}')
        self.socket.recv()

    def round(self, publishes: int) -> float:
        """Return the CPU of a publish and its delivery, in us."""
        assert self.socket is not None
        settle(self.server)
        before = self.server.cpu()
        for number in range(publishes):
            self.socket.send('{"jsonrpc":"2.0","method":"publish","params":{"topic":"active","data":"x"}}')
            if number % 100 == 99:
                for _ in range(100):
                    self.socket.recv()
        return (self.server.cpu() - before) / publishes * 1e6

    def stop(self) -> None:
        """End both."""
        if self.socket is not None:
            self.socket.close()
        self.server.stop()


def _many(options: Namespace) -> dict[str, Any]:
    """Give 10,000 clients a topic each, and publish to all of them in turn."""
    server = Child([sys.executable, "-m", "service", "serve", "--port", str(_PORT), "--client-rate", "1e9"], core=0)
    try:
        server.line()
        before, begin = server.cpu(), time.monotonic()
        report = Path(".bench", "many.json")
        report.parent.mkdir(exist_ok=True)
        load = Child(
            [sys.executable, "-m", "loadtest", "broadcast", "--url", f"http://127.0.0.1:{_PORT}",
             "--clients", "10000", "--topics", "10000", "--rate", "0.2", "--duration", "20", "--json", str(report)],
            core=1,
        )  # fmt: skip
        ended = load.process.wait()
        load.stop()
        if ended not in (0, _BELOW_PLAN):
            raise RuntimeError(f"the load generator ended with {ended}")
        document = json.loads(report.read_text())
        share = (server.cpu() - before) / (time.monotonic() - begin)
        row = {
            "published": document["counters"]["published"],
            "of_what_was_meant": document["counters"]["made"] / document["counters"]["intended"],
            "lost": document["checks"]["lost"],
            "delivery_p99_ms": document["latency_ms"]["delivery"]["p99"],
            "server_core": share,
        }
        print(f"\n10,000 active topics with a reader each, 2,000 publishes a second: {row}")
        return row
    finally:
        server.stop()
