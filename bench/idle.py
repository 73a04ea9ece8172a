"""Idle: what 10,000 subscribed clients take in memory and CPU while nothing is published."""

import time
from argparse import ArgumentParser, Namespace
from typing import Any

from bench.processes import Child, build, settle
from bench.servers import Sluice

__all__ = ["add_options", "run"]

_BROWSER = {
    "Origin": "http://127.0.0.1:{port}",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "Sec-Fetch-Dest": "websocket",
    "Sec-Fetch-Mode": "websocket",
    "Sec-Fetch-Site": "same-origin",
    "Cookie": "session=" + "0123456789abcdef" * 8 + "; theme=dark; consent=" + "a1b2c3d4" * 16,
}


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the CPU is watched (default 60)")


def run(options: Namespace) -> dict[str, Any]:
    """Measure both kinds of clients, print the table, and return the figures."""
    print(f"\n{'clients':28}{'KiB/connection':>16}{'connect s':>12}{'CPU % of a core':>18}")
    rows = [_one("as few headers as it takes", {}, options), _one("a browser's", _BROWSER, options)]
    return {"clients": options.clients, "table": rows}


def _one(name: str, headers: dict[str, str], options: Namespace) -> dict[str, Any]:
    server = Sluice(18300)
    try:
        settle(server.child)
        before = server.child.resident()
        extra = "".join(f"{key}: {value.format(port=server.port)}\r\n" for key, value in headers.items())
        receivers = Child(
            [
                build("receiver"),
                "127.0.0.1",
                str(server.port),
                str(options.clients),
                "/ws",
                "sluice.v1",
                server.subscribe,
            ],
            core=1,
            env={"EXTRA_HEADERS": extra},
        )
        connect_s = float(receivers.line().split()[1])
        settle(server.child)
        kib = (server.child.resident() - before) / options.clients / 1024
        cpu = server.child.cpu()
        time.sleep(options.seconds)
        used = (server.child.cpu() - cpu) / options.seconds
        receivers.stop()
    finally:
        server.stop()
    print(f"{name:28}{kib:16.2f}{connect_s:12.2f}{used:18.2%}")
    return {"headers": name, "kib_per_connection": kib, "connect_s": connect_s, "cpu_of_a_core": used}
