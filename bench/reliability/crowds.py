"""Many at once: more than there are descriptors, all in the same moment, and coming and going for long."""

import random
import socket
import tempfile
import time
from argparse import Namespace

from bench import storms
from bench.raw import http_request, mute, request, upgrade
from bench.reliability.stage import Stage
from bench.reliability.trial import Outcome, Scene, Trial
from bench.servers import Sluice

__all__ = ["TRIALS"]

_DESCRIPTORS = 500
_CHURN = 100
_SLOPE_FROM = 600.0
"""Seconds of churn from which a slope is more than the noise of the allocator."""


def _descriptors_used_up(scene: Scene) -> Outcome:
    count, hold = scene.many(2000, least=1000), 5.0
    options = ("--websockets", "300", "--connections", "50", "--upstream", "20")
    limited = ("prlimit", f"--nofile={_DESCRIPTORS}:{_DESCRIPTORS}")
    with (
        tempfile.NamedTemporaryFile("r") as log,
        open(log.name, "w") as errors,
        Stage(scene, *options, clients=100, before=limited, errors=errors) as stage,
    ):
        crowd = [_connected(stage.port) for _ in range(count)]
        cpu = stage.child.cpu()
        time.sleep(hold)
        used = (stage.child.cpu() - cpu) / hold
        lines = len(log.read().splitlines())
        stage.attacked()
        closed = sum(_is_closed(one) for one in crowd)
        for one in crowd:
            one.close()
        # The service refuses for a while what it was short of.
        taken = stage.sampler.until(lambda: _is_taken(stage.port), within=10)
        return stage.outcome(
            f"{count} connections at a service that may have {_DESCRIPTORS} descriptors",
            {
                "the surplus closed": closed >= count - _DESCRIPTORS,
                "less than 20 % of a core": used < 0.2,
                "fewer than 10 log lines/s": lines < 10 * hold,
                "new clients are taken within 10 s after": taken is not None,
            },
            closed=closed,
            core=used,
            log_lines=lines,
        )


def _connected(port: int) -> socket.socket:
    one = socket.socket()
    one.settimeout(5)
    one.connect(("127.0.0.1", port))
    return one


def _is_closed(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        one.recv(1000)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_taken(port: int) -> bool:
    try:
        upgrade(port).close()
    except OSError:
        return False
    return True


def _storm(scene: Scene) -> Outcome:
    count = scene.many(10_000)
    first = storms.connect(Namespace(clients=count, port=scene.port))
    server = Sluice(scene.port)
    crowd = storms.crowd_of(server, server.subscribe, Namespace(clients=count))
    crowd.line()
    server.child.process.kill()
    server.child.process.wait()
    crowd.stop()
    begin = time.monotonic()
    server = Sluice(scene.port)
    try:
        up = time.monotonic() - begin
        crowd = storms.crowd_of(server, server.subscribe, Namespace(clients=count))
        crowd.line()
        back = time.monotonic() - begin
        lag = _longest(server.port)
        crowd.stop()
    finally:
        server.stop()
    return Outcome(
        load=f"{count} connect at once; kill -9, and all {count} come back at once",
        checks={
            "all up in 5 s": first["seconds"] < 5,
            "no listen drops": first["listen_drops"] == 0,
            "all back in 5 s + the start": back < 5 + up,
        },
        figures={
            "all_up_s": first["seconds"],
            "upgrades_per_s": count / first["seconds"],
            "listen_drops": first["listen_drops"],
            "started_s": up,
            "all_back_s": back,
            "healthz_ms": lag * 1e3,
        },
        recovered=back,
    )


def _longest(port: int) -> float:
    """Return the longest of ten answers of /healthz, in seconds."""
    longest = 0.0
    for _ in range(10):
        begin = time.monotonic()
        http_request(port, "GET", "/healthz")
        longest = max(longest, time.monotonic() - begin)
    return longest


def _churn(scene: Scene) -> Outcome:
    count, seconds = scene.many(5000), scene.seconds(3600, 10)
    chance = random.Random(13)
    with Stage(scene) as stage:
        topics = stage.sampler.stats["topics"]
        crowd = [mute(stage.port, f"churn/{number % 500}") for number in range(count)]
        begin, turns, marks = time.monotonic(), 0, []
        while (now := time.monotonic()) < begin + seconds:
            if now < begin + turns / _CHURN:
                time.sleep(begin + turns / _CHURN - now)
            _turn(stage.port, crowd, chance)
            turns += 1
            if turns % _CHURN == 0:
                marks.append((now - begin, stage.child.resident()))
        stage.attacked()
        for one in crowd:
            one.close()
        back = stage.sampler.until(lambda: stage.sampler.stats["topics"] <= topics, within=20)
        warm = [mark for mark in marks if mark[0] > seconds / 5]
        growth = (warm[-1][1] - warm[0][1]) / (1 << 20)
        slope = growth / (warm[-1][0] - warm[0][0]) * 3600
        held = slope < 10 if seconds >= _SLOPE_FROM else growth < 5
        return stage.outcome(
            f"{count} clients, {_CHURN} a second leave, come, subscribe and unsubscribe, for {seconds:g} s",
            {"memory flat (10 MiB/h; in short runs 5 MiB)": held, "topics back to the start": back is not None},
            turns=turns,
            growth_mib=growth,
            slope_mib_per_h=slope if seconds >= _SLOPE_FROM else "not from so short a run",
        )


def _turn(port: int, crowd: list[socket.socket], chance: random.Random) -> None:
    """Have one client leave, another come in its place, and a third change what it reads."""
    number = chance.randrange(len(crowd))
    crowd[number].close()
    crowd[number] = mute(port, f"churn/{chance.randrange(500)}")
    topic = f"once/{chance.randrange(10_000)}"
    other = crowd[chance.randrange(len(crowd))]
    other.sendall(request("subscribe", topic=topic) + request("unsubscribe", topic=topic))


TRIALS = [
    Trial(
        11, "descriptors", "who is in is served, the surplus is closed, the log stays quiet", _descriptors_used_up
    ),
    Trial(12, "storm", "all up in 5 s, no listen drops", _storm),
    Trial(13, "churn", "memory flat, topics and descriptors back", _churn),
]
