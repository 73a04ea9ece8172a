"""Memory, kernel memory of sockets, descriptors and loop lag of the service, looked at twice a second."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.processes import Child, descriptors, kernel
from bench.raw import http_request

__all__ = ["Sample", "Sampler"]

_EVERY = 0.5
_SUBSCRIBE = '{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"_stats"}}'


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: bytes of the process, bytes of all TCP sockets of the machine, descriptors."""

    resident: int
    kernel: int
    descriptors: int


class Sampler:
    """Looks until it is stopped; ``stats`` is the last message of ``_stats``, ``headers`` what a client shows."""

    def __init__(self, child: Child, port: int, headers: Mapping[str, str]) -> None:
        self._child = child
        self._port = port
        self._headers = headers
        self._ended = threading.Event()
        self.stats: dict[str, float] = {}
        self.peak = self.now()
        self.lag_ms = 0.0
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._sample, self._listen)]
        for thread in self._threads:
            thread.start()

    def now(self) -> Sample:
        """Look once."""
        return Sample(self._child.resident(), kernel(), descriptors(self._child))

    def restart(self) -> None:
        """Forget the peaks."""
        self.peak, self.lag_ms = self.now(), 0.0

    def _sample(self) -> None:
        while not self._ended.wait(_EVERY):
            try:
                one = self.now()
            except (OSError, IndexError):
                return  # the process has ended; the trial knows why
            high = self.peak
            self.peak = Sample(
                max(one.resident, high.resident),
                max(one.kernel, high.kernel),
                max(one.descriptors, high.descriptors),
            )

    def _listen(self) -> None:
        try:
            with connect(
                f"ws://127.0.0.1:{self._port}/ws",
                compression=None,
                ping_interval=None,
                additional_headers=self._headers,
            ) as socket:
                socket.send(_SUBSCRIBE)
                while not self._ended.is_set():
                    self._heard(socket.recv())
        except (OSError, WebSocketException):
            return  # as above

    def _heard(self, text: str | bytes) -> None:
        notification = json.loads(text)
        if notification["method"] == "message":
            self.stats = notification["params"]["data"]
            self.lag_ms = max(self.lag_ms, self.stats["loop_lag_ms"])

    def figures(self) -> dict[str, float]:
        """Return what ``/metrics`` says of now, of figures without labels."""
        lines = http_request(self._port, "GET", "/metrics")[1].decode().splitlines()
        pairs = (line.split() for line in lines if line[:1] != "#" and "{" not in line)
        return {name: float(value) for name, value, *_ in pairs}

    def until(self, holds: Callable[[], bool], within: float) -> float | None:
        """Return the seconds until something holds, or None where it does not in time."""
        begin = time.monotonic()
        while not holds():
            if time.monotonic() > begin + within:
                return None
            time.sleep(0.05)
        return time.monotonic() - begin

    def stop(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._threads[0].join(2)
