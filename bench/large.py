"""Large: 10,000 URLs of 100 KB, 1 GB, in one batch: with a reader, with a slow one beside it, and with none.

The memory for batches is 256 MiB, so that nothing of this fits. Each way has a service of its own; a stranger
posts a small batch twice a second meanwhile.
"""

import http.client
import json
import re
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.processes import Child
from bench.upstream import FOLDER, PORT, upstream, url

__all__ = ["add_options", "run"]

_SERVICE = 18202
_SIZE = 100_000
_INDEX = re.compile(rb'\{"event":"(result|failed)","index":(\d+),')
_PIECE = 1 << 18


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--urls", type=int, default=10_000)
    parser.add_argument("--slow", type=float, default=40.0, help="MB/s that the slow reader takes")


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    ways: dict[str, Callable[[int, float], dict[str, int]]] = {
        "one reader": _one, "two readers, one slow": _two, "nobody reads": _detached,
    }  # fmt: skip
    print(
        f"{'way':24}{'s':>7}{'results':>9}{'failed':>8}{'MiB above idle':>16}{'stranger, ms: median':>22}{'max':>7}"
    )
    rows = []
    with upstream():
        (FOLDER / "www" / "100k").write_text("sluice, " * (_SIZE // 8))
        for name, way in ways.items():
            row = {"way": name, **_measure(way, options)}
            rows.append(row)
            print(
                f"{name:24}{row['seconds']:7.1f}{row['ok']:9}{row['failed']:8}{row['peak_mib']:16.0f}"
                f"{row['stranger_ms']:22.0f}{row['stranger_max_ms']:7.0f}"
            )
    return {"urls": options.urls, "bytes": _SIZE, "table": rows}


def _measure(way: Callable[[int, float], dict[str, int]], options: Namespace) -> dict[str, Any]:
    service = Child(
        [sys.executable, "-m", "service", "serve", "--port", str(_SERVICE), "--allow-net", "127.0.0.0/8",
         "--allow-port", str(PORT), "--upstream-host", "100"],
        core=0,
    )  # fmt: skip
    stranger = _Stranger()
    try:
        service.line()
        idle = service.resident()
        stranger.start()
        begin = time.monotonic()
        counts = way(options.urls, options.slow)
        seconds = time.monotonic() - begin
        times = stranger.end()
        return {
            "seconds": seconds, **counts, "peak_mib": (service.peak() - idle) / 2**20,
            "stranger_ms": median(times), "stranger_max_ms": max(times),
        }  # fmt: skip
    finally:
        stranger.over.set()
        service.stop()


class _Stranger(threading.Thread):
    """Posts a batch of five small URLs twice a second, and takes its time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self._times: list[float] = []
        self._wrong = ""

    def run(self) -> None:
        number = 0
        while not self.over.wait(0.5):
            number += 1
            begin = time.monotonic()
            answer = _post([url(f"small/{number}/{one}") for one in range(5)], {})
            document = json.load(answer)
            self._times.append((time.monotonic() - begin) * 1000)
            if document["ok"] != 5:
                self._wrong = str(document)[:500]

    def end(self) -> list[float]:
        """Stop, and return the milliseconds of each batch."""
        self.over.set()
        self.join(30)
        if self._wrong or not self._times:
            raise RuntimeError(f"the stranger's batches: {self._wrong or 'none ended'}")
        return self._times


def _one(count: int, slow: float) -> dict[str, int]:
    return _read(_post(_urls(count), {"Accept": "application/x-ndjson"}), count)


def _two(count: int, slow: float) -> dict[str, int]:
    first = _post(_urls(count), {"Accept": "application/x-ndjson"})
    second = _get(f"/batches/{first.headers['Sluice-Batch']}/events")
    counts: list[dict[str, int]] = []
    reader = threading.Thread(target=lambda: counts.append(_read(second, count, slow * 1e6)))
    reader.start()
    counts.append(_read(first, count))
    reader.join()
    if len(counts) != 2 or counts[0] != counts[1]:
        raise RuntimeError(f"the two readers had {counts}")
    return counts[0]


def _detached(count: int, slow: float) -> dict[str, int]:
    at = json.load(_post(_urls(count), {"Prefer": "respond-async"}))["batch"]
    while json.load(_get(f"/batches/{at}"))["state"] != "done":
        time.sleep(0.1)
    return _read(_get(f"/batches/{at}/events"), count)


def _urls(count: int) -> list[str]:
    return [url(f"large/{number}") for number in range(count)]


def _post(urls: list[str], headers: dict[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", _SERVICE, timeout=60)
    body = json.dumps({"urls": urls, "options": {"timeout": 60}})
    connection.request("POST", "/fetch-batch", body, {"Content-Type": "application/json", **headers})
    return connection.getresponse()


def _get(path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", _SERVICE, timeout=60)
    connection.request("GET", path)
    return connection.getresponse()


def _read(answer: http.client.HTTPResponse, count: int, rate: float = 0.0) -> dict[str, int]:
    """Read a batch's events to their end, at this many bytes per second; return the counts if they are exact."""
    seen = bytearray(count)
    counts = {"result": 0, "failed": 0}
    taken, begin, rest = 0, time.monotonic(), b""
    last = b""
    while piece := answer.read1(_PIECE):
        taken += len(piece)
        if rate and (ahead := taken / rate - (time.monotonic() - begin)) > 0:
            time.sleep(ahead)
        *lines, rest = (rest + piece).split(b"\n")
        for last in lines:
            if found := _INDEX.match(last):
                counts[found[1].decode()] += 1
                seen[int(found[2])] += 1
    done = json.loads(last)
    if done["event"] != "done" or set(seen) != {1}:
        raise RuntimeError(f"not every URL has one event, or the last is not done: {str(done)[:200]}")
    if (done["ok"], done["failed"]) != (counts["result"], counts["failed"]) or sum(counts.values()) != count:
        raise RuntimeError(f"the counts do not add up: {counts}, {done}")
    return {"ok": done["ok"], "failed": done["failed"]}
