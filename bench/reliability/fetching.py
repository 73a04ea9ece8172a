"""Upstreams that do harm, callers that leave, and requests that ask for the same thing many times."""

import json
import socket
import threading
import time
from typing import Any

from bench.raw import http_request, post
from bench.reliability.stage import CONNECTION, Stage
from bench.reliability.trial import Outcome, Scene, Trial
from bench.reliability.upstreams import HOSTILE, hostile, origin

__all__ = ["TRIALS"]

_TIMEOUT = 2.0
_ALL_AT_ONCE = [f"--upstream{which}=560" for which in ("", "-client", "-host")]
"""Limits with which nobody waits for a place: the harm is done at the same time."""


def _allowed(*ports: int) -> list[str]:
    return ["--allow-net", "127.0.0.0/8", *(f"--allow-port={port}" for port in ports)]


def _hostile_upstreams(scene: Scene) -> Outcome:
    each, good = scene.many(20), scene.many(1000, least=100)
    with (
        hostile() as bad,
        origin() as upstream,
        Stage(scene, *_allowed(bad.port, upstream), *_ALL_AT_ONCE) as stage,
    ):
        urls = [f"http://127.0.0.1:{upstream}/bytes/1000?{number}" for number in range(good)]
        alone = _elapsed(stage.port, urls)
        answer: dict[str, Any] = {}
        harmful = [f"http://127.0.0.1:{bad.port}/{kind}?{n}" for kind in HOSTILE for n in range(each)]
        attack = threading.Thread(target=lambda: answer.update(_fetch(stage.port, harmful)))
        attack.start()
        beside = _elapsed(stage.port, [f"{url}x" for url in urls])
        attack.join()
        longest = max(max(one["timing"].values()) for one in answer["results"])
        done = answer["ok"] + answer["failed"]
        return stage.outcome(
            f"{each} each of {len(HOSTILE)} harmful answers, {good} good ones beside them",
            {
                "each ended as a result or a failure": done == answer["total"] == len(harmful),
                "within its time-out + 0.5 s": longest <= (_TIMEOUT + 0.5) * 1000,
                "the good ones all came": beside[1] == good,
                "the good ones within 3 x their time alone": beside[0] <= alone[0] * 3 + 0.5,
            },
            # All begin in one moment, and end in another.
            factor=None,
            kept=(len(harmful) + good) * CONNECTION,
            longest_s=longest / 1000,
            good_alone_s=alone[0],
            good_beside_s=beside[0],
            failed=answer["failed"],
        )


def _fetch(port: int, urls: list[str]) -> dict[str, Any]:
    options = {"timeout": _TIMEOUT, "retries": 0, "body": "none", "concurrency": 500}
    status, body = post(port, "/fetch-batch", {"urls": urls, "options": options})
    if status != 200:
        raise RuntimeError(f"/fetch-batch answered {status}: {body[:200]!r}")
    document: dict[str, Any] = json.loads(body)
    return document


def _elapsed(port: int, urls: list[str]) -> tuple[float, int]:
    """Return the seconds that a batch took, and how many of it came."""
    begin = time.monotonic()
    answer = _fetch(port, urls)
    return time.monotonic() - begin, answer["ok"]


def _leaving(scene: Scene) -> Outcome:
    batches, urls = scene.many(100, least=5), 100
    together = min(500, batches * urls)
    with hostile() as bad, Stage(scene, *_allowed(bad.port), *_ALL_AT_ONCE) as stage:
        callers = []
        for batch in range(batches):
            asked = [f"http://127.0.0.1:{bad.port}/never?{batch}-{number}" for number in range(urls)]
            callers.append(_asking(stage.port, asked))
        reached = stage.sampler.until(lambda: bad.open >= together, within=15)
        for one in callers:
            one.close()
        gone = stage.sampler.until(lambda: bad.open == 0, within=10)
        rest = stage.sampler.until(
            lambda: stage.sampler.stats["batches"] == 0 and stage.sampler.stats["fetching"] == 0, within=5
        )
        stage.attacked()
        return stage.outcome(
            f"{batches} batches of {urls} URLs that never answer; all callers leave",
            {
                f"{together} fetches were under way": reached is not None,
                "every upstream connection closed in 1 s": gone is not None and gone <= 1,
                "no batch and no fetch left": rest is not None,
            },
            # It lasts for half a second, in which 10,000 URLs are taken and 500 connections made.
            factor=None,
            closed_after_s=gone if gone is not None else -1.0,
        )


def _asking(port: int, urls: list[str]) -> socket.socket:
    """POST a batch and return the connection, nothing read of it."""
    body = json.dumps({"urls": urls, "options": {"timeout": 60}}).encode()
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(
        f"POST /fetch-batch HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/x-ndjson\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return one


def _the_same(scene: Scene) -> Outcome:
    count = scene.many(10_000, least=100)
    with origin() as upstream, Stage(scene, *_allowed(upstream)) as stage:
        base = f"http://127.0.0.1:{upstream}"
        too_many = post(stage.port, "/fetch-batch", {"urls": [f"{base}/bytes/1"] * 10_001})[0]
        keyed = [
            json.loads(post(stage.port, "/fetch-batch", {"urls": [f"{base}/bytes/2"]}, Idempotency_Key="once")[1])
            for _ in range(10)
        ]
        other = post(stage.port, "/fetch-batch", {"urls": [f"{base}/bytes/3"]}, Idempotency_Key="once")[0]
        one_url = _fetch(stage.port, [f"{base}/slow/300"] * count)
        asked = json.loads(http_request(upstream, "GET", "/ledger/reset")[1])
        many = _fetch(stage.port, [f"{base}/slow/5?{number}" for number in range(min(count, 2000))])
        ledger = json.loads(http_request(upstream, "GET", "/ledger/reset")[1])
        return stage.outcome(
            f"10,001 URLs; one key 10 times; one URL {count} times; {many['total']} URLs of one host",
            {
                "10,001 URLs are 413": too_many == 413,
                "one key is one batch": len({one["batch"] for one in keyed}) == 1,
                "one key with another body is 422": other == 422,
                "one URL all answered": one_url["ok"] == count,
                "at most 20 at once at the host": ledger["most_active"] <= 20,
            },
            requests_for_one_url=asked["kinds"].get("slow", 0),
            most_at_the_host=ledger["most_active"],
        )


TRIALS = [
    Trial(14, "upstreams", "each ends in its time with a typed error; the good ones go on", _hostile_upstreams),
    Trial(15, "leaving", "every upstream connection closed within 1 s", _leaving),
    Trial(16, "the-same", "limits answer; one URL is fetched once; the host's limit holds", _the_same),
]
