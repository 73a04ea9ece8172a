"""What could hold up the loop: large documents, many topics, and a message to everyone."""

import json
import threading
import time

from bench.processes import Child, build
from bench.raw import frame, http_request, post, request, upgrade
from bench.reliability.stage import CONNECTION, Stage
from bench.reliability.trial import Outcome, Scene, Trial

__all__ = ["TRIALS"]

_MOST_MS = 250.0
_SUBSCRIBE = '{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"all"}}'


class _Probe:
    """Asks /healthz fifty times a second and keeps how long each answer took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.took: list[float] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.wait(0.02):
            begin = time.monotonic()
            http_request(self._port, "GET", "/healthz")
            self.took.append((time.monotonic() - begin) * 1000)

    def stop(self) -> tuple[float, float]:
        """Return p99 and the longest, in ms."""
        self._ended.set()
        self._thread.join()
        ordered = sorted(self.took)
        return ordered[int(len(ordered) * 0.99)], ordered[-1]


def _loop(scene: Scene) -> Outcome:
    count, rounds = scene.many(9500), scene.many(20, least=3)
    # What a batch ended with is kept, ten minutes by default: here not for longer than the recovery is watched.
    with Stage(scene, "--client-topics", "1000", "--batch-age", "1") as stage:
        everyone = Child(
            [build("receiver"), "127.0.0.1", str(stage.port), str(count), "/ws", "sluice.v1", _SUBSCRIBE],
            core=1,
            idle=True,
        )
        everyone.line()
        stage.window()
        stage.sampler.restart()
        probe = _Probe(stage.port)
        collector = upgrade(stage.port)
        statuses = []
        for number in range(rounds):
            statuses.append(post(stage.port, "/topics/all", {"n": number})[0])
            # A document of 1 MiB that is refused URL by URL, and one that is published.
            urls = [f"ftp://example.com/{number}/{'x' * 80}" for number in range(9000)]
            statuses.append(post(stage.port, "/fetch-batch", {"urls": urls})[0])
            collector.sendall(
                b"".join(request("subscribe", topic=f"many/{number}/{n}") for n in range(1000 // rounds))
            )
            time.sleep(0.2)
        collector.sendall(frame(b"[" + b",".join([json.dumps(_PING).encode()] * 100) + b"]"))
        p99, longest = probe.stop()
        stage.attacked()
        collector.close()
        everyone.stop()
        return stage.outcome(
            f"{count} readers of one topic, documents of 1 MiB, 1,000 topics of one client, {rounds} times",
            {
                "all taken": set(statuses) == {200},
                f"no answer waits longer than {_MOST_MS:g} ms": longest < _MOST_MS,
            },
            # Ten thousand deliveries take a tenth of a second: the control group waits for its turn in between.
            factor=None,
            # And what one document of 9,000 URLs takes while it is read; the next needs no more.
            kept=(16 << 20) + count * CONNECTION,
            healthz_p99_ms=p99,
            healthz_longest_ms=longest,
        )


_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

TRIALS = [Trial(21, "loop", "nothing holds up the loop for long", _loop)]
