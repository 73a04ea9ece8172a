"""What all parts of the bench use: the service, a client of it, and times."""

import http.client
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.durability.figure import FULL, Kind
from bench.processes import Child

__all__ = ["FUNCTIONS", "SLOTS", "Requests", "Service", "milliseconds", "share", "wait_until"]

FUNCTIONS: Final = "bench.jobs.functions"
SLOTS: Final = 2
"""Processes for functions, here and in Celery's worker."""
_LIMITS: Final = ("--client-rate", "1e9", "--client-bytes", "1000000000")


class Service:
    """A service with a data directory and functions, on core 0; a part starts it, and stops it."""

    def __init__(self, port: int, folder: Path, *options: str, kind: Kind = FULL, module: str = "service") -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._start: Callable[[], Child] = lambda: kind.start(
            port, folder, "--jobs", FUNCTIONS, "--job-slots", str(SLOTS), *_LIMITS, *options, module=module
        )
        self.child = self._start()

    def kill(self) -> None:
        """Kill the service, and wait for its end."""
        self.child.kill()

    def start_again(self) -> None:
        """Start it once more on the same port and directory."""
        self.child = self._start()

    def stop(self) -> None:
        """End it."""
        self.child.stop(30)


class Requests:
    """A client that keeps its connection, and does nothing that would take time; close it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def make(self, body: Any) -> str:
        """Make a job, and return its id."""
        return str(self.ask("POST", "/jobs", json.dumps(body))["job"])

    def ask(self, method: str, path: str, body: str | None = None) -> Any:
        """Return a document; raises RuntimeError where it is refused."""
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 202):
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {text[:200]!r}")
        return json.loads(text)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def share(values: Sequence[float], part: float) -> float:
    """Return the value that this part of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def milliseconds(seconds: Sequence[float]) -> str:
    """Return p50, p99 and the longest, in milliseconds."""
    return f"{share(seconds, 0.5) * 1e3:.1f}, {share(seconds, 0.99) * 1e3:.1f}, {max(seconds) * 1e3:.0f} ms"


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; raises TimeoutError if it does not become true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} took longer than {seconds:g} s")
        time.sleep(0.01)
