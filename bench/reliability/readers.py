"""Readers that take nothing, or next to nothing, and peers that have gone without a word."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.sync.client import connect

from bench.processes import Child, build, descriptors
from bench.raw import mute, upgrade
from bench.reliability.stage import CONNECTION, Stage
from bench.reliability.stock import Stock, stock
from bench.reliability.trial import Outcome, Scene, Trial

__all__ = ["TRIALS"]

_BUFFER = 4096
_RATE, _SIZE = 200.0, 1024
_UNTIL_EVICTED = 1200 / _RATE + 3.0
"""Seconds until the ring of 1,000 messages or 1 MiB has passed a reader whose kernel took the first two hundred,
and those that the closing handshake gets."""
_HELD = (16 << 10) + (300 << 10)
"""Bytes that one reader may hold here: the transport's backlog, and the kernel's part of both ends."""


@contextmanager
def _publishing(port: int, topic: str) -> Iterator[None]:
    """Publish 1 KiB at a steady rate until the block ends."""
    ended = threading.Event()
    text = f'{{"jsonrpc":"2.0","method":"publish","params":{{"topic":"{topic}","data":"{"x" * (_SIZE - 90)}"}}}}'

    def publish() -> None:
        begin, sent = time.monotonic(), 0
        with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as one:
            while not ended.wait(max(0.0, begin + sent / _RATE - time.monotonic())):
                one.send(text)
                sent += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _slow(scene: Scene) -> Outcome:
    return _not_reading(scene, taken=0)


def _trickling(scene: Scene) -> Outcome:
    return _not_reading(scene, taken=1024)


def _not_reading(scene: Scene, taken: int) -> Outcome:
    """Evict readers that take ``taken`` bytes a second of 200 KiB a second."""
    count, seconds = scene.many(1000), scene.seconds(60, 10)
    with Stage(scene) as stage:
        silent = [mute(stage.port, "load", buffer=_BUFFER) for _ in range(count)]
        for one in silent:
            one.setblocking(False)
        with _publishing(stage.port, "load"):
            begin, gone = time.monotonic(), None
            while time.monotonic() < begin + seconds:
                time.sleep(0.1)
                if taken:
                    _read(silent, taken // 10)
                if gone is None and descriptors(stage.child) <= stage.calm.descriptors + 1:
                    gone = time.monotonic() - begin
            held = stage.peak.resident + stage.peak.kernel - stage.calm.resident - stage.calm.kernel
            stage.attacked()
        for one in silent:
            one.close()
        least = f"take {taken} B/s" if taken else "take nothing"
        return stage.outcome(
            f"{count} readers that {least}; 200 messages/s of 1 KiB for {seconds:g} s",
            {
                "all evicted, descriptors free": gone is not None,
                f"within {_UNTIL_EVICTED + 2:g} s": gone is not None and gone <= _UNTIL_EVICTED + 2,
                "no more than 316 KiB for each": held <= count * _HELD + (16 << 20),
            },
            kept=count * CONNECTION,
            evicted_after_s=gone or 0.0,
        )


def _read(silent: list[socket.socket], size: int) -> None:
    for one in silent:
        try:
            one.recv(size)
        except OSError:
            continue  # nothing there, or evicted


def _half_open(scene: Scene) -> Outcome:
    count, heartbeat = scene.many(500), 4.0
    limit = heartbeat * 1.5 + 1
    with stock(scene.port + 1) as peer:
        kept = _kept_by_stock(peer, min(count, 20), limit * 2)
    with Stage(scene, "--heartbeat", str(heartbeat)) as stage:
        stopped = Child(
            [build("receiver"), "127.0.0.1", str(stage.port), str(count), "/ws", "sluice.v1", ""],
            core=1,
            apart=True,
        )
        stopped.line()
        full = [mute(stage.port, "load", buffer=_BUFFER) for _ in range(count)]
        with _publishing(stage.port, "load"):
            # Their kernels take the first; from then on nobody takes anything.
            time.sleep(1.5)
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            gone = stage.sampler.until(
                lambda: descriptors(stage.child) <= stage.calm.descriptors + 1, within=limit * 2
            )
            stage.attacked()
        finally:
            stopped.process.send_signal(signal.SIGCONT)
            stopped.stop()
            for one in full:
                one.close()
        return stage.outcome(
            f"{count} idle clients stopped (SIGSTOP), {count} with full buffers; heartbeat {heartbeat:g} s",
            {f"all gone within {limit:g} s": gone is not None and gone <= limit},
            stock=f"{kept} of {min(count, 20)} with full buffers still hold a descriptor after {limit * 2:g} s",
            gone_after_s=gone or 0.0,
        )


def _kept_by_stock(peer: Stock, count: int, within: float) -> int:
    """Return how many descriptors of readers with full buffers the plain server has after ``within`` seconds."""
    before = descriptors(peer.child)
    full = [upgrade(peer.port, buffer=_BUFFER) for _ in range(count)]
    for _ in range(150):
        peer.broadcast(b"x" * 60_000)
        time.sleep(0.01)
    time.sleep(within)
    kept = descriptors(peer.child) - before
    for one in full:
        one.close()
    return kept


TRIALS = [
    Trial(1, "slow-readers", "evicted when the ring has passed; bounded memory; nobody else notices", _slow),
    Trial(2, "trickle-readers", "evicted like those that take nothing", _trickling),
    Trial(10, "half-open", "gone within 1.5 heartbeats + 1 s, descriptors free", _half_open),
]
