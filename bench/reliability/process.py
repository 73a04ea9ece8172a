"""What happens to the process itself: killed, its clock moved, its log unread."""

import json
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bench import drain
from bench.processes import Child, unread_pipe
from bench.raw import http_request, post
from bench.reliability.stage import Stage
from bench.reliability.stock import stock
from bench.reliability.trial import Outcome, Scene, Trial
from bench.reliability.upstreams import origin

__all__ = ["TRIALS"]

_JUMPING = ("-m", "bench.peers.jumping")
_DRAIN = 10.0
_GOING_AWAY = 1001


def _drain(scene: Scene) -> Outcome:
    readers, others = scene.many(10_000), scene.many(100)
    figures, broken = drain.drained(
        Namespace(readers=readers, batches=others, watches=others, rate=2.0, drain=_DRAIN)
    )
    went_on, code, forced = _notified_twice(scene.port)
    theirs = _stopped_stock(scene.port + 1)
    return Outcome(
        load=f"SIGTERM with {readers} readers, {others} batches, {others} watches, and two while 5 batches run",
        checks={
            "everyone notified, nothing lost, batches whole": not broken,
            "exit 0": figures["exit"] == 0,
            "within drain + 1 s": figures["exit_seconds"] <= _DRAIN + 1,
            "the second SIGTERM ends it in 1 s": went_on and code is not None and forced <= 1,
        },
        figures={
            "exit_s": figures["exit_seconds"],
            "broken": "; ".join(broken) or "nothing",
            "accepted_in_drain": figures["accepted"] - figures["accepted_before"],
            "forced_s": forced,
        },
        stock=theirs,
        recovered=figures["exit_seconds"],
    )


def _notified_twice(port: int) -> tuple[bool, int | None, float]:
    """Return whether batches kept a drain going, and after a second SIGTERM the exit code and its seconds."""
    with origin() as upstream:
        options = ["--allow-net", "127.0.0.0/8", "--allow-port", str(upstream), "--drain", "30"]
        child = Child([sys.executable, "-m", "service", "serve", "--port", str(port), *options], core=0, apart=True)
        try:
            child.line()
            streams = [_streaming(port, [f"http://127.0.0.1:{upstream}/slow/60000?{n}"]) for n in range(5)]
            child.process.terminate()
            time.sleep(1.0)
            went_on = child.process.poll() is None
            begin = time.monotonic()
            child.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(5)
            seconds = time.monotonic() - begin
            for one in streams:
                one.close()
            return went_on, child.process.poll(), seconds
        finally:
            child.stop()


def _stopped_stock(port: int, count: int = 20) -> str:
    """Say what clients of the plain server hear when it is stopped, and how long it takes."""
    with stock(port) as peer:
        uri = f"ws://127.0.0.1:{port}/ws"
        clients = [connect(uri, compression=None, ping_interval=None) for _ in range(count)]
        begin = time.monotonic()
        peer.child.process.terminate()
        codes = Counter(map(_ended_with, clients))
        code = peer.child.process.wait(60)
        seconds = time.monotonic() - begin
    return f"{codes[_GOING_AWAY]} of {count} notified; exit {code} after {seconds:.1f} s"


def _ended_with(client: ClientConnection) -> int | None:
    """Return the code with which the other side closes, or None where it just goes."""
    try:
        client.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None
    finally:
        client.close()
    raise RuntimeError("the plain server says nothing to its clients")


def _killed(scene: Scene) -> Outcome:
    count, port = scene.many(100), scene.port
    with origin() as upstream:
        options = ["--allow-net", "127.0.0.0/8", "--allow-port", str(upstream), "--upstream-host", "500"]
        argv = [sys.executable, "-m", "service", "serve", "--port", str(port), *options]
        child = Child(argv, core=0, apart=True)
        try:
            child.line()
            positions = [json.loads(post(port, f"/topics/kept/{number}", number)[1]) for number in range(count)]
            url = f"http://127.0.0.1:{upstream}/slow/60000"
            streams = [_streaming(port, [f"{url}?{number}"]) for number in range(count)]
            _, body = post(port, "/fetch-batch", {"urls": [url]}, Prefer="respond-async")
            batch = json.loads(body)["batch"]
            child.kill()
            complete = sum(b'"done"' in _rest(one) for one in streams)
            begin = time.monotonic()
            child = Child(argv, core=0, apart=True)
            child.line()
            up = time.monotonic() - begin
            reported = sum(
                _is_notified(port, f"kept/{number}", position) for number, position in enumerate(positions)
            )
            forgotten = http_request(port, "GET", f"/batches/{batch}")[0]
        finally:
            child.stop()
    return Outcome(
        load=f"kill -9 with {count} topics and {count + 1} batches under way",
        checks={
            "serves again in 5 s": up < 5,
            "no broken stream looks complete": complete == 0,
            "every old position is answered recovered: false": reported == count,
            "a batch of before is 404": forgotten == 404,
        },
        figures={"up_after_s": up, "notified": reported},
        recovered=up,
    )


def _streaming(port: int, urls: list[str]) -> socket.socket:
    """Begin a batch and return its connection when the answer has begun."""
    body = json.dumps({"urls": urls, "options": {"timeout": 60}}).encode()
    one = socket.create_connection(("127.0.0.1", port))
    one.settimeout(10)
    one.sendall(
        f"POST /fetch-batch HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/x-ndjson\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    one.recv(9)
    return one


def _rest(one: socket.socket) -> bytes:
    """Return what came until the end of any kind."""
    data = b""
    try:
        while piece := one.recv(1 << 16):
            data += piece
    except OSError:
        return data
    finally:
        one.close()
    return data


def _is_notified(port: int, topic: str, position: dict[str, Any]) -> bool:
    """Return whether a reader with a position of before is notified that it is gone."""
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(10)
        since = f"{position['epoch']}:{position['offset']}"
        one.sendall(
            f"GET /topics/{topic}/events?since={since} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Accept: application/x-ndjson\r\n\r\n".encode()
        )
        data = b""
        while b'"start"' not in data or not data.endswith(b"\n"):
            piece = one.recv(1 << 16)
            if not piece:
                return False
            data += piece
    return b'"recovered":false' in data


def _clock(scene: Scene) -> Outcome:
    with origin() as upstream:
        options = ["--allow-net", "127.0.0.0/8", "--allow-port", str(upstream), "--heartbeat", "2"]
        with Stage(scene, *options, program=_JUMPING) as stage:
            clients = stage.sampler.stats["connections"]
            url = f"http://127.0.0.1:{upstream}/etag/a?period=100000"
            fetched = []
            for number in (None, signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
                if number is not None:
                    stage.child.process.send_signal(number)
                    # Longer than a heartbeat and a half: clients that it times out are gone by then.
                    time.sleep(4.0)
                status, body = post(stage.port, "/fetch-batch", {"urls": [url]})
                fetched.append(status == 200 and json.loads(body)["ok"] == 1)
            stayed = stage.sampler.stats["connections"] == clients
            return stage.outcome(
                f"the clock an hour ahead, two back, and right again; {stage.clients} clients",
                {"nobody is disconnected": stayed, "fetches go on": all(fetched)},
            )


def _log_unread(scene: Scene) -> Outcome:
    count = scene.many(5000, least=1000)
    with open("/dev/full", "w") as disk:
        disk_code, disk_slowest = _noisy(scene.port + 1, disk, count)
    with unread_pipe() as pipe:
        pipe_code, pipe_slowest = _noisy(scene.port + 2, pipe, count)
        with Stage(scene, errors=pipe) as stage:
            slowest = max(_bad_requests(stage.port, count), disk_slowest, pipe_slowest)
            return stage.outcome(
                f"{count} requests that are logged; standard error full (/dev/full), and a pipe that nobody reads",
                {
                    "answers go on": slowest < 1.0,
                    "ends with the disk full, exit 0": disk_code == 0,
                    "ends with the pipe full, exit 0": pipe_code == 0,
                },
                slowest_answer_s=slowest,
            )


def _noisy(port: int, errors: Any, count: int) -> tuple[int | None, float]:
    """Run a service whose log goes there; return its exit code and its slowest answer."""
    argv = [sys.executable, "-m", "service", "serve", "--port", str(port), "--drain", "1"]
    # With its usual buffers: a write that waits must not have the end of the process wait too.
    child = Child(argv, core=0, env={"PYTHONUNBUFFERED": ""}, apart=True, errors=errors)
    try:
        child.line()
        slowest = _bad_requests(port, count)
        child.process.terminate()
        return child.process.wait(15), slowest
    except subprocess.TimeoutExpired:
        return None, slowest
    finally:
        child.stop()


def _bad_requests(port: int, count: int) -> float:
    """Send what is answered with 400, and is worth a line in the log; return the slowest answer in seconds."""
    slowest = 0.0
    for _ in range(count):
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.settimeout(10)
            one.sendall(b"GET / HTTP/9.9\r\nHost: x\r\n" + b"X: " + b"y" * 500 + b"\r\n\r\n")
            one.recv(100)
        slowest = max(slowest, time.monotonic() - begin)
    return slowest


TRIALS = [
    Trial(17, "drain", "everyone is notified and gets what was accepted; exit 0 in time", _drain),
    Trial(18, "killed", "up again, and every client is notified that the past is gone", _killed),
    Trial(20, "clock", "nobody times out", _clock),
    Trial(22, "log-unread", "logging never holds up the loop", _log_unread),
]
