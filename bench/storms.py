"""Storms: 10,000 clients that come at once, come back at once, and are sent away at once."""

import http.client
import json
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from bench.processes import Child, build
from bench.servers import Sluice, message

__all__ = ["add_options", "connect", "crowd_of", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--missed", type=int, default=100, help="messages that everyone has missed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18500)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the figures, and return them."""
    return {
        "clients": options.clients,
        "connect": [connect(options) for _ in range(options.rounds)],
        "resume": [_resume(options) for _ in range(options.rounds)],
        "drain": _drain(options),
    }


def crowd_of(server: Sluice, subscribe: str, options: Namespace) -> Child:
    """Start all clients at once: no handshake waits for another."""
    return Child(
        [build("receiver"), "127.0.0.1", str(server.port), str(options.clients), "/ws", "sluice.v1", subscribe],
        core=1,
        env={"AT_ONCE": str(options.clients)},
    )


def _dropped() -> int:
    """Return how many connections the kernel has dropped because a listen queue was full."""
    names, values = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines()[:2]]
    return int(values[names.index("ListenDrops")])


def connect(options: Namespace) -> dict[str, Any]:
    """Return the seconds until all are up, and how many connections the kernel dropped meanwhile."""
    server, before = Sluice(options.port), _dropped()
    try:
        crowd = crowd_of(server, server.subscribe, options)
        seconds = float(crowd.line().split()[1])
        crowd.stop()
    finally:
        server.stop()
    row = {"seconds": seconds, "listen_drops": _dropped() - before}
    print(f"{options.clients} connect at once: all up in {seconds:.2f} s, {row['listen_drops']} listen drops")
    return row


def _resume(options: Namespace) -> dict[str, Any]:
    server = Sluice(options.port)
    try:
        api = http.client.HTTPConnection("127.0.0.1", server.port)
        for number in range(1, options.missed + 1):
            body = message(number, time.monotonic_ns(), 100)
            api.request("POST", "/topics/t", body, {"Content-Type": "application/json"})
            epoch = json.loads(api.getresponse().read())["epoch"]
        since = {"topic": "t", "since": f"{epoch}:0"}
        subscribe = json.dumps({"jsonrpc": "2.0", "method": "subscribe", "params": since})
        begin = time.monotonic()
        crowd = crowd_of(server, subscribe, options)
        crowd.line()
        wanted, got, lost = options.clients * options.missed, 0, 0
        while got < wanted and time.monotonic() < begin + 60:
            crowd.write_line("")
            report = json.loads(crowd.line())
            got, lost = got + report["received"], lost + report["lost"] + report["repeated"]
            time.sleep(0.02)
        seconds = time.monotonic() - begin
        crowd.stop()
    finally:
        server.stop()
    row = {"seconds": seconds, "received": got, "wanted": wanted, "lost_or_repeated": lost}
    print(f"{options.clients} come back at once, {options.missed} messages behind: whole again in {seconds:.2f} s, "
          f"{got:,} of {wanted:,} received, {lost} lost or repeated")  # fmt: skip
    return row


def _drain(options: Namespace) -> dict[str, Any]:
    server = Sluice(options.port)
    crowd = crowd_of(server, server.subscribe, options)
    crowd.line()
    begin = time.monotonic()
    server.stop(within=30)
    seconds = time.monotonic() - begin
    crowd.write_line("")
    closed = json.loads(crowd.line())["closed"]
    crowd.stop()
    code = server.child.process.returncode
    print(f"SIGTERM with {options.clients} idle: gone in {seconds:.1f} s with exit {code}, {closed} closed")
    return {"seconds": seconds, "exit": code, "closed": closed}
