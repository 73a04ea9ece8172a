"""Memory that reaches its limit: newcomers are refused before the kernel has to kill."""

import http.client
import json
import sys
import time
from collections import Counter

from bench.processes import Child, kernel
from bench.raw import http_request, mute, upgrade
from bench.reliability.stage import Stage
from bench.reliability.trial import Outcome, Scene, Trial, words

__all__ = ["TRIALS"]

_ROOM = 60 << 20
_MESSAGE = 512 << 10
"""Bytes of a message: large enough for memory of its own, which goes back to the kernel at once."""
_RATE = 16.0
"""Messages a second: a tenth of the limit, where refusing begins, is more than what comes between two looks."""
_OVER = 4 << 20
_SLOW = 20
"""Readers that take none of the messages that make the memory grow."""


def _memory(scene: Scene) -> Outcome:
    seconds = scene.seconds(60, 15)
    limit = _at_start(scene.port + 1) + kernel() + _ROOM
    options = ("--memory-limit", str(limit), "--message-size", str(2 * _MESSAGE), "--ring-age", "5")
    with Stage(scene, *options) as stage:
        slow = [mute(stage.port, f"grow/{number}", buffer=4096) for number in range(_SLOW)]
        statuses: Counter[str] = Counter()
        newcomers: Counter[str] = Counter()
        ready: Counter[str] = Counter()
        begin, sent, body = time.monotonic(), 0, json.dumps("x" * _MESSAGE).encode()
        while (now := time.monotonic()) < begin + seconds:
            time.sleep(max(0.0, begin + sent / _RATE - now))
            status = _published(stage.port, f"grow/{sent}", body)
            statuses[status] += 1
            if status.startswith("503"):
                newcomers[_came(stage.port)] += 1
                ready[_readiness(stage.port)] += 1
            sent += 1
        highest = stage.peak.resident + stage.peak.kernel
        stage.attacked()
        back = stage.sampler.until(lambda: http_request(stage.port, "GET", "/readyz")[0] == 200, within=30)
        for one in slow:
            one.close()
        return stage.outcome(
            f"{_RATE:g} messages/s of 512 KiB into as many topics for {seconds:g} s; "
            f"limit {limit / (1 << 20):.0f} MiB, {_ROOM >> 20} above the start",
            {
                "requests get 503 with Retry-After": set(statuses) == {"200", "503 with Retry-After"},
                "new clients get 503": newcomers["503"] > 0,
                "/readyz says overloaded": ready["503 overloaded"] > 0,
                f"never more than {_OVER >> 20} MiB above the limit": highest <= limit + _OVER,
                "ready again within 30 s": back is not None,
            },
            highest_mib=highest / (1 << 20),
            statuses=words(statuses),
            new_clients=words(newcomers),
            readiness=words(ready),
            ready_after_s=back if back is not None else -1.0,
        )


def _at_start(port: int) -> int:
    """Return the resident bytes of a service that nobody has asked for anything."""
    child = Child([sys.executable, "-m", "service", "serve", "--port", str(port)], core=0, apart=True)
    try:
        child.line()
        return child.resident()
    finally:
        child.stop()


def _published(port: int, topic: str, body: bytes) -> str:
    """Publish over HTTP; return the status, and whether it says when to come back."""
    api = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        api.request("POST", f"/topics/{topic}", body, {"Content-Type": "application/json"})
        answer = api.getresponse()
        return f"{answer.status}{' with Retry-After' if answer.headers['Retry-After'] else ''}"
    except OSError as error:
        return type(error).__name__
    finally:
        api.close()


def _came(port: int) -> str:
    """Have a client come; return the status of its handshake."""
    try:
        upgrade(port).close()
    except ConnectionError as error:
        return str(error).split()[1]
    return "101"


def _readiness(port: int) -> str:
    status, body = http_request(port, "GET", "/readyz")
    return f"{status} {json.loads(body)['status']}"


TRIALS = [Trial(23, "memory", "refuses before the limit, serves who is there, recovers", _memory)]
