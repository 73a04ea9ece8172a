"""The service and the upstream of this bench, on all cores like everything beside them; and batches with steps."""

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench.processes import Child, build, reachable
from bench.raw import http_request
from bench.upstream import PORT

__all__ = ["ALL", "Ran", "batch", "distant", "failures", "service", "start"]

ALL: Final = "0,1"
"""Both cores: what is compared here is what a machine of two cores does."""
_ROOM: Final = ("--upstream-host", "140", "--allow-net", "127.0.0.0/8")
"""One client may use three quarters of that for itself: more than the 100 of a batch."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A batch that has ended."""

    seconds: float
    events: list[dict[str, Any]]
    """In the order in which they came, the last is ``done``."""
    time_ms: Mapping[str, float]

    @property
    def results(self) -> Iterator[dict[str, Any]]:
        """The events of what went well."""
        return (event for event in self.events if event["event"] == "result")


def start(port: int, *options: str, upstream: int = PORT) -> Child:
    """Start the service, which may fetch from a port of this machine, and return when it listens."""
    argv = [sys.executable, "-m", "service", "serve", "--port", str(port), *_ROOM, "--allow-port", str(upstream)]
    child = Child([*argv, *options], core=ALL)
    try:
        child.line()
    except BaseException:
        child.stop()
        raise
    return child


@contextmanager
def service(port: int, *options: str, upstream: int = PORT) -> Iterator[Child]:
    """Run the service until the block ends."""
    child = start(port, *options, upstream=upstream)
    try:
        yield child
    finally:
        child.stop(15)


@contextmanager
def distant(port: int, milliseconds: float) -> Iterator[int]:
    """Yield a port at which the upstream is so far away, each way: a round trip takes twice as long."""
    if not milliseconds:
        yield PORT
        return
    proxy = Child([build("delay"), str(port), str(PORT), str(2 * milliseconds)], core=ALL)
    try:
        proxy.line()
        reachable(port)
        yield port
    finally:
        proxy.stop()


def batch(port: int, urls: Sequence[str], steps: Sequence[Mapping[str, Any]], **options: Any) -> Ran:
    """Post a batch and read its events to the end; raises RuntimeError where it has none."""
    body = json.dumps({"urls": urls, "options": {"steps": steps, "timeout": 60, **options}})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    begin = time.monotonic()
    connection.request(
        "POST", "/fetch-batch", body, {"Content-Type": "application/json", "Accept": "application/x-ndjson"}
    )
    answer, pieces = connection.getresponse(), []
    while piece := answer.read1(1 << 18):
        pieces.append(piece)
    seconds = time.monotonic() - begin
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the batch was answered {answer.status}: {b''.join(pieces)[:200]!r}")
    lines = [json.loads(line) for line in b"".join(pieces).splitlines()]
    events = [line for line in lines if line["event"] in ("result", "failed", "progress", "done")]
    if not events or events[-1]["event"] != "done":
        raise RuntimeError("the batch has no end")
    seen = http_request(port, "GET", f"/batches/{answer.headers['Sluice-Batch']}")[1]
    return Ran(seconds, events, json.loads(seen)["time_ms"])


def failures(ran: Ran, is_right: Callable[[dict[str, Any]], bool]) -> str:
    """Say what is wrong with the results of a batch; nothing where every URL is right."""
    failed = [event for event in ran.events if event["event"] == "failed"]
    wrong = [event for event in ran.results if not is_right(event)]
    if failed:
        return f"{len(failed)} failed, the first as {failed[0]['error']}: {failed[0]['detail']}"
    return f"{len(wrong)} results are wrong, the first of {wrong[0]['url']}" if wrong else ""
