"""One that misbehaves beside everyone else: handshakes that never end, strangers, floods."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.processes import Child, descriptors
from bench.reliability.stage import CONNECTION, Stage
from bench.reliability.trial import Outcome, Scene, Trial, words

__all__ = ["TRIALS"]

_HANDSHAKE_TIME = _AUTH_TIME = 5.0
_BEHIND_PROXY = ("--trust-proxy", "127.0.0.1/32")
"""The offender names an address of its own: those of this machine have no limits."""
_CLEAR = ("4429", "429", "-32006")
"""What one that is too fast gets: a close code, a status, an error's code."""
_ENDING = 4.0
"""Seconds in which 5,000 end, 2,000 a second."""


@contextmanager
def _child(module: str, *arguments: object) -> Iterator[Child]:
    child = Child([sys.executable, "-m", module, *map(str, arguments)], core=1)
    try:
        yield child
    finally:
        child.stop()


def _offend(kind: str, port: int, count: int, seconds: float) -> dict[str, int]:
    """Let one misbehave to its end, and return what it was answered how often."""
    with _child("bench.offender", kind, port, count, seconds) as offender:
        reported: dict[str, int] = json.loads(offender.line())
        return reported


def _handshakes(scene: Scene) -> Outcome:
    count = scene.many(2000)
    with (
        Stage(scene, "--handshake-time", str(_HANDSHAKE_TIME)) as stage,
        _child("bench.newcomers", stage.port) as newcomers,
    ):
        newcomers.write_line("")
        reported = _offend("handshakes", stage.port, count, _HANDSHAKE_TIME + 5)
        stage.attacked()
        newcomers.write_line("")
        came: dict[str, Any] = json.loads(newcomers.line())
        last = reported["last closed after, ms"] / 1000
        return stage.outcome(
            f"{count} sockets that say nothing, half a header, or a byte each half second",
            {
                "all closed": reported["closed"] == count,
                "within handshake time + 1 s": last <= _HANDSHAKE_TIME + 1,
                "new clients come in": came["new_upgrades"] > 0 and came["new_upgrades_failed"] == 0,
                "the slowest of them within 100 ms": came["slowest_upgrade_ms"] < 100,
            },
            factor=1.5,
            last_closed_s=last,
            **came,
        )


def _strangers(scene: Scene) -> Outcome:
    count = scene.many(5000)
    options = ("--auth-time", str(_AUTH_TIME), *_BEHIND_PROXY, "--websockets", str(count + 300))
    with Stage(scene, *options, token="right") as stage:
        # It counts from its last upgrade, and gives up those that are open when the time is over.
        reported = _offend("strangers", stage.port, count, _AUTH_TIME + _ENDING)
        free = stage.sampler.until(lambda: descriptors(stage.child) <= stage.calm.descriptors + 2, within=5)
        stage.attacked()
        return stage.outcome(
            f"{count} that upgrade and show no credentials; auth time {_AUTH_TIME:g} s",
            {
                "all closed with 4401": reported.get("4401") == count,
                f"within auth time + {_ENDING:g} s": reported["still open"] == 0,
                "no descriptors left": free is not None,
            },
            # Their time is over in one moment, and 5,000 ends of 55 us each are a quarter of a second of the core.
            factor=None,
            kept=count * CONNECTION,
            reported=words(reported),
        )


def _floods(scene: Scene) -> Outcome:
    seconds = scene.seconds(20)
    with Stage(scene, *_BEHIND_PROXY) as stage:
        reported = {}
        for kind in ("requests", "pings", "churn"):
            reported[kind] = _offend(kind, stage.port, 50_000, seconds)
        stage.attacked()
        clear = {kind: {code: one.get(code, 0) for code in _CLEAR} for kind, one in reported.items()}
        figures: dict[str, Any] = {kind: words(codes) for kind, codes in clear.items()}
        return stage.outcome(
            f"one client that sends 50,000 messages/s, {seconds:g} s each of {', '.join(reported)}",
            {
                f"{kind}: came in, and refused": one.get("connections", 0) > 0 and any(clear[kind].values())
                for kind, one in reported.items()
            },
            factor=1.5,
            **figures,
        )


TRIALS = [
    Trial(3, "handshakes", "closed in handshake time + 1 s; new clients come in at once", _handshakes),
    Trial(5, "strangers", "closed with 4401 when their time is over, descriptors free", _strangers),
    Trial(9, "floods", "asked to go slower, then closed; nobody else notices", _floods),
]
