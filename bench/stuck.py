"""Stuck: 1,000 of 10,000 readers take nothing; what the others notice of it, and what happens to them."""

import json
import re
import shutil
import socket
import subprocess
import time
from argparse import ArgumentParser, Namespace
from typing import Any

from bench.processes import Child, build, descriptors, kernel, settle
from bench.raw import mute
from bench.servers import Sluice, message

__all__ = ["add_options", "run"]

_POLICIES = ("disconnect", "drop_oldest", "latest")


class _Server(Sluice):
    """Ours, with a short ring."""

    def command(self) -> list[str]:
        return [*super().command(), "--ring-messages", "200"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--stuck", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=60.0)


def run(options: Namespace) -> dict[str, Any]:
    """Measure without and with stuck readers, print the figures, and return them."""
    without, with_ = (_one(stuck, options) for stuck in (0, options.stuck))
    ratio = with_["p99_ms"] / without["p99_ms"]
    print(f"p99 of the healthy with stuck readers / without: {ratio:.2f}")
    return {"without": without, "with": with_, "ratio_p99": ratio}


def _one(stuck: int, options: Namespace) -> dict[str, Any]:
    server, healthy = _Server(18600), options.clients - options.stuck
    silent: list[socket.socket] = []
    try:
        crowd = Child(
            [build("receiver"), "127.0.0.1", str(server.port), str(healthy), "/ws", "sluice.v1", server.subscribe],
            core=1,
        )
        crowd.line()
        silent = [mute(server.port, "t", on_lag=_POLICIES[number % 3]) for number in range(stuck)]
        settle(server.child)
        resident, sockets = server.child.resident(), kernel()
        before, most, both, sending = descriptors(server.child), 0, 0, None
        count, begin = int(options.rate * options.seconds), time.monotonic() + 0.05
        for number in range(count):
            due = begin + number / options.rate
            time.sleep(max(0.0, due - time.monotonic()))
            server.publish(message(number + 1, int(due * 1e9), options.size - server.overhead))
            if number % 20 == 0:
                most = max(most, server.child.resident() - resident)
                both = max(both, kernel() - sockets)
            if number == count // 2:
                sending = _sending(server)
        settle(server.child)
        crowd.write_line("")
        report = json.loads(crowd.line())
        freed = before - descriptors(server.child)
        gaps = sum(_has_gap(one) for one in silent)
        crowd.stop()
    finally:
        for one in silent:
            one.close()
        server.stop()
    row = {
        "stuck": stuck,
        "missing": count * healthy - report["received"],
        "repeated": report["repeated"],
        "p99_ms": report["p99_ms"],
        "more_resident_mib": most / (1 << 20),
        "more_kernel_mib_both_ends": both / (1 << 20),
        "kernel_mib_of_ours": None if sending is None else sending / (1 << 20),
        "descriptors_freed": freed,
        "told_of_a_gap": gaps,
    }
    print(", ".join(f"{name} {value if value is None else format(value, ',.4g')}" for name, value in row.items()))
    return row


def _has_gap(one: socket.socket) -> bool:
    """Read what has piled up, and say whether a gap was among it."""
    one.settimeout(0.3)
    seen = b""
    try:
        while piece := one.recv(1 << 20):
            seen = seen[-64:] + piece
            if b'"method":"gap"' in seen:
                return True
    except (TimeoutError, ConnectionError):
        pass
    return False


def _sending(server: Sluice) -> int | None:
    """Return the bytes of kernel memory that the server's own sockets hold, or None without iproute2's ss."""
    if not shutil.which("ss"):
        return None
    listing = subprocess.run(
        ["ss", "-tmnH", f"sport = :{server.port}"], capture_output=True, text=True, check=True
    ).stdout
    return sum(int(wmem) + int(queued) for wmem, queued in re.findall(r"skmem:\(.*?,t(\d+),.*?,w(\d+),", listing))
