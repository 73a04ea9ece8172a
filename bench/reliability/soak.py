"""Half an hour of coming and going: clients, subscriptions, batches and watches, and what is left of them."""

import random
import socket
import time
from contextlib import suppress
from statistics import linear_regression

from bench.raw import frame, mute, post, request
from bench.reliability.stage import CONNECTION, Stage
from bench.reliability.trial import Outcome, Scene, Trial
from bench.reliability.upstreams import origin

__all__ = ["TRIALS"]

_CHURN = 100
"""Clients a second that leave and are replaced."""
_TOPICS = 500
_WATCHED = 100
"""URLs that are watched now and then."""
_EACH_SECOND = 10
"""Watches that begin in a second, and messages that are published."""
_READ = 8
"""Clients that read in a turn: 5,000 in 6 s, half of the time that the answer to a ping may take."""
_PONG = frame(b"", first=0x8A)
_URLS = 100
"""Of a batch that is read to its end; there is one a second."""
_WARM = 0.2
"""Share of the time after which caches, pools and the allocator have what they need."""
_SLOPE_FROM = 600.0
"""Seconds from which a slope is more than the noise of the allocator."""
_LEFT = {
    "sluice_tasks": 3,
    "sluice_topics": 1,
    "sluice_readers": 1,
    "process_open_fds": 3,
    "sluice_watched_urls": 0,
}
"""What has to be back where it was, and by how much it moves by itself: a look at it is a connection, too."""
_AGES = ("--ring-age", "5", "--batch-age", "2", "--batch-linger", "2", "--cache-size", "4194304")
"""What is kept for later is kept for seconds here, so that half an hour sees it go many times."""


class _Crowd:
    """Clients that come, ask for something, read a little later what they are sent, and go."""

    def __init__(self, port: int, upstream: int, count: int) -> None:
        self._port = port
        self._base = f"http://127.0.0.1:{upstream}"
        self._chance = random.Random(13)
        self._asked = self._looked = 0
        self.cut = 0
        """Clients that the service ended: it has no reason to."""
        self._clients = [self._come() for _ in range(count)]

    def turn(self, number: int) -> None:
        """Have one client leave, another come, and a third change what it reads."""
        at = self._chance.randrange(len(self._clients))
        self._replace(at)
        for _ in range(_READ):
            self._looked = (self._looked + 1) % len(self._clients)
            self._read(self._looked)
        topic = f"once/{self._chance.randrange(10_000)}"
        self._send(request("subscribe", topic=topic) + request("unsubscribe", topic=topic))
        if number % (_CHURN // _EACH_SECOND) == 0:
            url = f"{self._base}/etag/{self._chance.randrange(_WATCHED)}?period=5000"
            self._send(request("watch", url=url, every=1))
        if number % _CHURN == 0:
            self._second()

    def _second(self) -> None:
        """Publish, fetch for somebody who may have left before the answer, and read a batch to its end."""
        for _ in range(_EACH_SECOND):
            self._send(request("publish", topic=self._topic(), data="x" * 500))
        self._send(
            request("fetch", urls=self._fresh("slow/3000", 5)) + request("fetch", urls=self._fresh("bytes/500", 10))
        )
        status, _ = post(self._port, "/fetch-batch", {"urls": self._fresh("bytes/1000", _URLS)})
        if status != 200:
            raise RuntimeError(f"/fetch-batch answered {status}")

    def _fresh(self, path: str, count: int) -> list[str]:
        self._asked += count
        return [f"{self._base}/{path}?{self._asked - number}" for number in range(count)]

    def _come(self) -> socket.socket:
        client = mute(self._port, self._topic())
        client.setblocking(False)
        return client

    def _replace(self, at: int) -> None:
        self._clients[at].close()
        self._clients[at] = self._come()

    def _read(self, at: int) -> None:
        """Take what is there, and show that somebody is."""
        try:
            with suppress(BlockingIOError):
                if not self._clients[at].recv(1 << 20):
                    raise ConnectionResetError
            self._clients[at].sendall(_PONG)
        except ConnectionError:
            self.cut += 1
            self._replace(at)

    def _topic(self) -> str:
        return f"soak/{self._chance.randrange(_TOPICS)}"

    def _send(self, frames: bytes) -> None:
        with suppress(ConnectionError):  # counted when it is read next
            self._chance.choice(self._clients).sendall(frames)

    def leave(self) -> None:
        """Close everything."""
        for client in self._clients:
            client.close()


def _soak(scene: Scene) -> Outcome:
    count, seconds = scene.many(5000), scene.seconds(1800, 15)
    with origin() as upstream:
        reach = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream))
        with Stage(scene, *reach, *_AGES) as stage:
            before = stage.sampler.figures()
            crowd = _Crowd(stage.port, upstream, count)
            begin, turns, marks = time.monotonic(), 0, []
            while (now := time.monotonic() - begin) < seconds:
                if now < turns / _CHURN:
                    time.sleep(turns / _CHURN - now)
                crowd.turn(turns)
                turns += 1
                if turns % _CHURN == 0:
                    marks.append((now, stage.child.resident() / (1 << 20)))
            stage.attacked()
            messages = (
                stage.sampler.figures()["sluice_messages_published_total"]
                - before["sluice_messages_published_total"]
            )
            crowd.leave()
            back = stage.sampler.until(lambda: not _more(before, stage.sampler.figures()), within=60)
            warm = [mark for mark in marks if mark[0] > seconds * _WARM]
            slope, _ = linear_regression(*zip(*warm, strict=True))
            growth = warm[-1][1] - warm[0][1]
            held = slope * 3600 <= 10 if seconds >= _SLOPE_FROM else growth < 5
            return stage.outcome(
                f"{count} clients for {seconds:g} s; {_CHURN} a second leave, come, subscribe and unsubscribe; "
                f"each second {_EACH_SECOND} watches and three batches begin",
                {
                    "nobody cut": crowd.cut == 0,
                    "memory within 10 MiB/h after warm-up (short runs: 5 MiB)": held,
                    "tasks, topics, readers and descriptors back": back is not None,
                },
                kept=count * CONNECTION,
                cut=crowd.cut,
                turns=turns,
                messages=round(messages),
                growth_mib=growth,
                slope_mib_per_h=slope * 3600 if seconds >= _SLOPE_FROM else "not from so short a run",
                back_after_s=back if back is not None else f"never: {_more(before, stage.sampler.figures())}",
            )


def _more(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Return what there is more of than before, by how much."""
    return {name: now[name] - before[name] for name, moves in _LEFT.items() if now[name] > before[name] + moves}


TRIALS = [Trial(13, "soak", "memory flat; tasks, topics, readers and descriptors back", _soak)]
