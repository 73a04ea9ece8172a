"""Readers that are cut off and come back, on servers that are not ours, in the way that each of them has."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.centrifugo import Centrifugo
from tests.end_to_end.npm import packages
from tests.end_to_end.peers import peers
from tests.end_to_end.processes import listening, loadtest, run, service

SERVERS = Path(__file__).parent / "servers.cjs"
NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}


async def resume(tmp_path: Path, url: str, target: str, *more: str) -> tuple[int, str, Any]:
    path = tmp_path / "r.json"
    code, out, err = await run(*loadtest(
        "resume", "--target", target, "--url", url, "--clients", "10", "--rate", "20", "--duration", "3", "--cuts", "5",
        "--roaming", "0.5", "--away", "0.2", "--settle", "5", "--threshold", "lost==0", "--threshold", "returned>0",
        "--json", str(path), *more,
    ))  # fmt: skip
    return code, out + err, orjson.loads(path.read_bytes())


async def test_server_sent_events_go_on_behind_the_last_event(tmp_path: Path) -> None:
    async with service() as server:
        code, said, report = await resume(
            tmp_path, server.url, "sse", "--path", "/topics/{topic}/events", "--publish-path", "/topics/{topic}"
        )
    assert code == 0, said
    assert report["checks"] == NONE
    counters = report["counters"]
    assert counters["delivered"] + counters["delivered_recovery"] == 60 * 10


@pytest.mark.seconds(15)
async def test_socket_io_recovers_its_state(tmp_path: Path) -> None:
    async with listening("node", str(SERVERS), "recovering", str(packages().parent), "0") as server:
        code, said, report = await resume(tmp_path, server.url, "socketio", "--token", "s3cret")
        assert code == 0, said
        assert report["checks"] == NONE
        counters = report["counters"]
        assert counters["recovered"] == counters["returned"]
        code, said, _ = await resume(tmp_path, server.url, "socketio", "--token", "wrong")
    assert code == 1
    assert "who are you?" in said


@pytest.mark.seconds(18)
async def test_centrifugo_recovers_publications_and_what_it_forgets_is_found(tmp_path: Path) -> None:
    for forgets, code, lost in ((0, 0, 0), (1, 99, 1)):
        async with peers(Centrifugo(forgets=forgets)) as server:
            got, said, report = await resume(tmp_path, server.url, "centrifugo")
        assert (got, report["checks"]) == (code, {**NONE, "lost": lost}), said
        assert report["counters"]["recovered"] == report["counters"]["returned"] > 0
    async with peers(Centrifugo()) as server:
        got, said, _ = await resume(tmp_path, server.url, "centrifugo")
    assert (got, "is not recoverable" in said) == (1, True)


async def test_only_what_was_missed_is_lost_in_a_restart(tmp_path: Path) -> None:
    async with peers(Centrifugo(forgets=0, restarts=True)) as server:
        code, said, report = await resume(tmp_path, server.url, "centrifugo")
    assert code == 99, said
    counters, checks = report["counters"], report["checks"]
    assert counters["epochs_changed"] > 0
    assert counters["delivered"] + counters["delivered_recovery"] + checks["lost"] == counters["published"] * 10
    assert (checks["repeated"], checks["reordered"]) == (0, 0)


async def test_a_target_that_cannot_resume_is_refused() -> None:
    code, _, err = await run(sys.executable, "-m", "loadtest", "resume", "--target", "stomp")
    assert code == 2
    assert "--target: stomp can take part in" in err
