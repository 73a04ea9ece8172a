"""Many at once: more than there are descriptors, and all in the same moment."""

import socket
import tempfile
import time
from argparse import Namespace

from bench import storms
from bench.raw import http_request, upgrade
from bench.reliability.stage import Stage
from bench.reliability.trial import Outcome, Scene, Trial
from bench.servers import Sluice

__all__ = ["TRIALS"]

_DESCRIPTORS = 500


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
    server.child.kill()
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


TRIALS = [
    Trial(
        11, "descriptors", "who is in is served, the surplus is closed, the log stays quiet", _descriptors_used_up
    ),
    Trial(12, "storm", "all up in 5 s, no listen drops", _storm),
]
