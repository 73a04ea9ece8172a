"""Recovery: a million messages in 20,000 topics read again after a kill, their memory, and their size on disk."""

import http.client
import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.durability.figure import FULL, MEMORY, Figure, Kind, data_folder
from bench.processes import Child, settle
from bench.raw import http_request

__all__ = ["add_options", "run"]

_AT_ONCE: Final = 1000
"""Topics of one request."""
_SIZE: Final = 200
_SECONDS: Final = 3.0
_MORE: Final = 1.2
_ON_DISK: Final = 300
_CHECKED: Final = 100
"""Topics that are looked at after the start."""
_ROOM: Final = ("--ring-age", "86400", "--rings-size", str(2 << 30))


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--messages", type=int, default=1_000_000, help="that are recovered")
    parser.add_argument("--topics", type=int, default=20_000, help="that they are in")


def run(options: Namespace) -> list[Figure]:
    """Publish the same to two services, kill the one that keeps it and start it again; return the figures."""
    each = options.messages // options.topics
    with data_folder() as folder:
        _, empty_s, idle = _started(FULL, options.port, folder, keep=False)
        _, _, memory_idle = _started(MEMORY, options.port, folder, keep=False)
        kept, _, _ = _started(FULL, options.port, folder)
        memory, _, _ = _started(MEMORY, options.port + 1, folder)
        try:
            _fill((options.port, options.port + 1), options.topics, each)
            before, control = _resident(kept) - idle, _resident(memory) - memory_idle
        finally:
            memory.stop(30)
            kept.kill()
        size = sum(file.stat().st_size for file in (folder / "full").iterdir())
        kept, seconds, resident = _started(FULL, options.port, folder)
        try:
            _check(options.port, options.topics, each)
        finally:
            kept.stop(30)
    return _figures(options, each * options.topics, seconds - empty_s, size, (resident - idle, before, control))


def _started(kind: Kind, port: int, folder: Path, *, keep: bool = True) -> tuple[Child, float, int]:
    """Return the service, how long its start took, and its resident bytes after that."""
    begin = time.monotonic()
    child = kind.start(port, folder, *_ROOM)
    seconds = time.monotonic() - begin
    resident = _resident(child)
    if not keep:
        child.stop(30)
    return child, seconds, resident


def _resident(child: Child) -> int:
    settle(child)
    return child.resident()


def _fill(ports: Sequence[int], topics: int, each: int) -> None:
    """Publish to all services by turns, as many topics at once as one request may name."""
    apis = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for port in ports]
    for number in range(each):
        for first in range(0, topics, _AT_ONCE):
            names = [f"t/{topic}" for topic in range(first, min(first + _AT_ONCE, topics))]
            data = f"{number}/{first}".ljust(_SIZE - 2, "x")
            body = json.dumps({"topics": names, "data": data})
            for api in apis:
                api.request("POST", "/publish", body, {"Content-Type": "application/json"})
                answer = api.getresponse()
                if answer.status != 200:
                    raise RuntimeError(f"/publish answered {answer.status}: {answer.read()[:300]!r}")
                answer.read()
    for api in apis:
        api.close()


def _check(port: int, topics: int, each: int) -> None:
    """Raise RuntimeError where a topic has not got all of its messages."""
    for topic in range(0, topics, max(1, topics // _CHECKED)):
        document = json.loads(http_request(port, "GET", f"/topics/t%2F{topic}")[1])
        if (document.get("oldest"), document.get("offset")) != (1, each):
            raise RuntimeError(f"not all of a topic was recovered: {document}")


def _figures(
    options: Namespace, messages: int, seconds: float, size: int, resident: tuple[int, int, int]
) -> list[Figure]:
    after, before, control = (one / 2**20 for one in resident)
    load = f"{messages:,} messages of {_SIZE} bytes in {options.topics:,} topics"
    return [
        Figure(
            "recovery: start", f"{load}, beyond the start of an empty directory", f"{seconds:.2f} s",
            bar=f"{_SECONDS:g} s", held=seconds <= _SECONDS,
        ),
        Figure(
            "recovery: memory", "after that start, beyond that of an empty one",
            f"{after:.0f} MiB ({before:.0f} when they were published)", f"{control:.0f} MiB, published",
            f"{_MORE:g} times (it is {after / control:.2f})", after <= _MORE * control,
        ),
        Figure(
            "recovery: disk", "all files, a message", f"{size / messages:.0f} bytes", bar=f"{_ON_DISK} bytes",
            held=size <= _ON_DISK * messages,
        ),
    ]  # fmt: skip
