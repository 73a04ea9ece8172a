"""The load generator against the real service: every scenario, every way to end, and other people's servers."""

import asyncio
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.processes import (
    ROOT,
    Endpoint,
    listening,
    loadtest,
    nginx,
    origin,
    program,
    run,
    service,
    start,
)
from tests.procfs import children

NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}


async def load(tmp_path: Path, server: Endpoint, *options: str, code: int = 0) -> Any:
    """Run a scenario and return its report; its findings are part of what a test may look at."""
    path = tmp_path / "report.json"
    got, out, err = await run(*loadtest(*options, "--url", server.url, "--json", str(path)))
    assert got == code, out + err
    assert "Traceback" not in err
    return orjson.loads(path.read_bytes())


async def test_a_broadcast_finds_nothing_wrong_with_the_service(tmp_path: Path, shared: Endpoint) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    code, out, err = await run(
        *loadtest("broadcast", "--url", shared.url, "--clients", "50", "--duration", "2", "--rate", "10",
                  "--threshold", "lost==0", "--threshold", "delivered==1000", "--threshold", "server_fds_max>50",
                  "--json", str(report), "--html", str(page))
    )  # fmt: skip
    assert code == 0, out + err
    document = orjson.loads(report.read_bytes())
    assert (document["checks"], document["findings"], document["errors"]) == (NONE, [], {})
    assert document["latency_ms"]["delivery"]["count"] == 1000
    assert 0 < document["latency_ms"]["delivery"]["p99"] < 5000
    assert document["gauges"]["server_rss_mib_max"] > 10
    drawn = {name for moment in document["timeline"] for name in moment}
    assert {"server_rss_mib", "server_lag_ms", "own_lag_ms", "kernel_tcp_mib", "clients"} <= drawn
    assert "<svg" in page.read_text()
    assert "lost 0" in out


async def test_workers_share_a_plan_exactly(tmp_path: Path, shared: Endpoint) -> None:
    reported = await load(tmp_path, shared, "broadcast", "--clients", "31", "--topics", "3", "--publishers", "5",
                      "--processes", "3", "--rate", "10..40", "--duration", "2", "--arrivals", "poisson",
                      "--warm-up", "0")  # fmt: skip
    counters = reported["counters"]
    # Topic 0 has 11 readers, topics 1 and 2 have 10: as many publishes each, because the schedule is the same.
    assert reported["checks"] == NONE
    assert counters["connected"] == counters["held"] == 31
    assert counters["delivered"] == counters["published"] // 3 * 31 == reported["latency_ms"]["delivery"]["count"]
    assert counters["published"] % 3 == 0


async def test_rounds_are_kept_apart_and_compared_with_themselves(tmp_path: Path, shared: Endpoint) -> None:
    reported = await load(tmp_path, shared, "broadcast", "--clients", "20", "--duration", "0.5", "--rounds", "4")
    assert [one["latency_ms"]["delivery"]["count"] for one in reported["rounds"]] == [100] * 4
    path = str(tmp_path / "report.json")
    code, out, _ = await run(*loadtest("compare", path, path))
    assert code == 0
    assert "no difference beyond the noise" in out


@pytest.mark.parametrize("options", [(), ("--rate", "200", "--arrivals", "poisson"), ("--topic", "t")])
async def test_connect(tmp_path: Path, shared: Endpoint, options: tuple[str, ...]) -> None:
    reported = await load(tmp_path, shared, "connect", "--clients", "100", "--duration", "0.5", *options)
    counted = reported["counters"]["connected"]
    assert counted == 100 if "poisson" not in options else 60 < counted < 140
    assert reported["counters"]["held"] == counted
    for phase in ("tcp", "upgrade", "connect"):
        assert reported["latency_ms"][phase]["count"] == counted


async def test_idle_and_echo_and_churn(tmp_path: Path) -> None:
    async with service("--echo-route") as server:
        reported = await load(tmp_path, server, "idle", "--clients", "100", "--duration", "1")
        assert reported["counters"]["held"] == 100
        assert reported["gauges"]["server_rss_per_connection_kib"] < 200
        for target in ("sluice", "echo"):
            reported = await load(tmp_path, server, "echo", "--target", target, "--clients", "10", "--rate", "200",
                              "--duration", "1")  # fmt: skip
            assert reported["counters"]["round_trips"] == reported["latency_ms"]["round_trip"]["count"] == 200
        reported = await load(
            tmp_path, server, "churn", "--clients", "20", "--rate", "50", "--duration", "1", "--rude"
        )
        assert (reported["counters"]["exchanged"], reported["counters"]["held"], reported["errors"]) == (50, 20, {})


async def test_fetch_over_http_and_websocket(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        reported = await load(tmp_path, server, "fetch", "--origin", upstream.url, "--urls", "500", "--batch-size", "100",
                          "--via", "both", "--clients", "2", "--threshold", "origin_requests==500")  # fmt: skip
        assert (reported["counters"]["fetched"], reported["counters"]["missing"], reported["errors"]) == (
            500,
            0,
            {},
        )
        reported = await load(tmp_path, server, "fetch", "--origin", upstream.url, "--rate", "5", "--duration", "1",
                          "--batch-size", "20", "--same", "--fetch-path", "/page/a?latency=5..20")  # fmt: skip
        assert reported["counters"]["fetched"] == 100
        assert reported["latency_ms"]["batch"]["count"] == 5


async def test_one_poll_serves_all_who_watch(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        reported = await load(tmp_path, server, "watch", "--origin", upstream.url, "--clients", "100", "--duration", "5",
                          "--period", "2", "--threshold", "origin_requests<=8", "--threshold", "lost==0")  # fmt: skip
    assert reported["counters"]["changes"] >= 2
    assert reported["counters"]["changes_missed"] == 0
    assert reported["counters"]["delivered_freshness"] >= 100 * reported["counters"]["changes"]
    assert reported["latency_ms"]["freshness"]["max"] < 4000


async def test_readers_that_are_cut_again_and_again_miss_nothing(tmp_path: Path, shared: Endpoint) -> None:
    # Cut while they are written to: the service must neither lose anything of theirs nor anything of the others'.
    reported = await load(tmp_path, shared, "resume", "--clients", "100", "--roaming", "0.5", "--cuts", "50",
                      "--away", "0.2", "--rate", "50", "--size", "2000", "--duration", "4",
                      "--warm-up", "0")  # fmt: skip
    counters = reported["counters"]
    assert (reported["checks"], reported["errors"]) == (NONE, {})
    assert counters["recovered"] == counters["cuts"] > 100
    assert counters["delivered"] == 50 * counters["published"]
    assert counters["delivered_recovery"] == 50 * counters["published"]


async def test_slow_readers_are_counted_apart(tmp_path: Path) -> None:
    async with service("--ring-messages", "50") as server:
        reported = await load(tmp_path, server, "slow-readers", "--clients", "40", "--slow", "0.25", "--rate", "50",
                          "--size", "30000", "--duration", "4", "--settle", "5")  # fmt: skip
    counters = reported["counters"]
    assert (reported["checks"]["lost"], counters["held"], counters["slow"]) == (0, 30, 10)
    assert counters["delivered"] == 30 * 200
    assert counters["slow_cut"] == 10
    assert counters["slow_lost"] == 0


PLAN = """
[[part]]
scenario = "broadcast"
weight = 3
rate = 20

[[part]]
scenario = "echo"
rate = 50

[[part]]
scenario = "fetch"
weight = 0
urls = 50
"""


async def test_a_mixed_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        plan.write_text(PLAN + f'origin = "{upstream.url}"\n')
        reported = await load(tmp_path, server, "mixed", "--plan", str(plan), "--clients", "40", "--duration", "2",
                          "--processes", "2")  # fmt: skip
    counters = reported["counters"]
    assert (reported["checks"], reported["errors"]) == (NONE, {})
    assert (counters["connected"], counters["delivered"]) == (40, 30 * 40)
    assert (counters["round_trips"], counters["fetched"]) == (100, 50)


@pytest.mark.seconds(19)
async def test_the_largest_load_that_holds(tmp_path: Path) -> None:
    async with service("--websockets", "25") as server:
        reported = await load(tmp_path, server, "capacity", "connect", "--vary", "clients", "--from", "10", "--to", "100",
                          "--duration", "0.2", "--threshold", "errors==0")  # fmt: skip
    assert 23 <= reported["counters"]["capacity"] <= 25
    assert {(load["load"] <= 25, load["holds"]) for load in reported["loads"]} == {(True, 1.0), (False, 0.0)}


async def test_nchan_is_driven_by_the_same_scenario(tmp_path: Path) -> None:
    module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if not module.exists():
        pytest.skip("nginx' module Nchan is not installed (Debian: libnginx-mod-nchan)")
    program("nginx", "Debian: nginx-light")
    channels = (
        "location = /sub { nchan_subscriber websocket; nchan_channel_id $arg_id; } "
        "location = /pub { nchan_publisher http; nchan_channel_id $arg_id; }"
    )
    async with nginx(channels, f"load_module {module};") as port:
        path = tmp_path / "report.json"
        code, out, err = await run(*loadtest(
            "broadcast", "--target", "nchan", "--url", f"http://127.0.0.1:{port}", "--clients", "50", "--rate", "20",
            "--duration", "1", "--threshold", "delivered==1000", "--json", str(path),
        ))  # fmt: skip
    assert code == 0, out + err
    assert orjson.loads(path.read_bytes())["checks"] == NONE


async def test_a_threshold_that_fails_is_exit_99(shared: Endpoint) -> None:
    code, out, _ = await run(*loadtest("connect", "--url", shared.url, "--clients", "5", "--duration", "0.2",
                                       "--threshold", "connected>5"))  # fmt: skip
    assert code == 99
    assert "FAILED connected>5: 5" in out


async def test_a_broken_bound_can_end_the_run(tmp_path: Path, shared: Endpoint) -> None:
    reported = await load(tmp_path, shared, "broadcast", "--clients", "10", "--duration", "60", "--warm-up", "0",
                      "--threshold", "published<5", "--threshold", "held>0", "--abort-on-fail", code=99)  # fmt: skip
    assert reported["elapsed_s"] < 20
    assert any("aborted after" in note and "published<5" in note for note in reported["notes"])
    assert reported["checks"]["lost"] == 0


async def test_a_token_is_shown() -> None:
    async with service(env={"SLUICE_TOKEN": "right"}) as server:
        options = (
            "connect",
            "--url",
            server.url,
            "--clients",
            "5",
            "--duration",
            "0.2",
            "--threshold",
            "connected==5",
        )
        assert (await run(*loadtest(*options, "--token", "right")))[0] == 0
        code, _, err = await run(*loadtest(*options, "--token", "wrong"))
        assert code == 1
        assert "4401" in err


async def test_nobody_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    code, _, err = await run(
        *loadtest("broadcast", "--url", "http://127.0.0.1:1", "--clients", "2", "--json", str(path))
    )
    assert code == 1
    assert "no client could connect to http://127.0.0.1:1: connect: Connection refused" in err
    assert "Traceback" not in err
    assert set(orjson.loads(path.read_bytes())["counters"].values()) <= {0, 2}


async def test_a_name_that_nobody_has() -> None:
    code, _, err = await run(*loadtest("connect", "--url", "http://no-such-host.invalid", "--clients", "2"))
    assert code == 1
    assert "no-such-host.invalid has no address" in err


async def test_too_few_descriptors_are_said_with_what_to_do() -> None:
    command = shlex.join(loadtest("connect", "--clients", "500", "--url", "http://127.0.0.1:1"))
    code, _, err = await run("sh", "-c", f"ulimit -n 200 && exec {command}")
    assert code == 1
    assert re.search(r"520 sockets of one process need 570 descriptors and the limit is 200: --processes 4", err)


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_ctrl_c_leaves_a_report_of_what_was_done(tmp_path: Path, shared: Endpoint, processes: str) -> None:
    path = tmp_path / "report.json"
    child = await start(*loadtest("broadcast", "--url", shared.url, "--clients", "20", "--duration", "60",
                                  "--processes", processes, "--warm-up", "0", "--json", str(path)))  # fmt: skip
    assert child.process.stderr is not None
    async with asyncio.timeout(60):
        while not re.search(rb"[1-9]\d* delivered", await child.process.stderr.readline()):
            pass
    child.process.send_signal(signal.SIGINT)
    out, err = await child.process.communicate()
    assert child.process.returncode == 1
    reported = orjson.loads(path.read_bytes())
    assert reported["counters"]["delivered"] >= 20
    assert reported["checks"]["lost"] == 0
    assert b"interrupted: the report covers what was done until then" in err
    assert b"Traceback" not in err
    assert b"delivery" in out


async def test_a_worker_that_is_killed_ends_the_run(tmp_path: Path, shared: Endpoint) -> None:
    child = await start(*loadtest("idle", "--url", shared.url, "--clients", "20", "--duration", "60",
                                  "--processes", "2", "--json", str(tmp_path / "r.json")))  # fmt: skip
    assert child.process.stderr is not None
    async with asyncio.timeout(60):
        while b"holding" not in await child.process.stderr.readline():
            pass
    workers = children(child.process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, err = await child.process.communicate()
    assert child.process.returncode == 1
    assert b"ended with -9: its last figures are missing" in err


async def test_a_small_demo(tmp_path: Path) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    code, out, err = await run(*loadtest("demo", "--clients", "200", "--urls", "300", "--duration", "2",
                                         "--json", str(report), "--html", str(page)))  # fmt: skip
    assert code == 0, out + err
    assert "200 of 200" in out
    assert "300 of 300" in out
    assert orjson.loads(report.read_bytes())["counters"]["delivered"] == 200 * 20


ROOMS = """
import asyncio, orjson
from websockets.asyncio.server import broadcast, serve

async def main():
    rooms = {}
    async def chat(socket):
        async for text in socket:
            message = orjson.loads(text)
            room = rooms.setdefault(message["room"], set())
            if message["do"] == "join":
                room.add(socket)
                await socket.send(orjson.dumps({"joined": message["room"]}).decode())
            else:
                broadcast(room, orjson.dumps({"room": message["room"], "text": message["text"]}).decode())
    async with serve(chat, "127.0.0.1", 0) as server:
        print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def test_the_adapter_of_the_documents_drives_somebody_elses_server(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "loadtest.md").read_text()
    (tmp_path / "rooms.py").write_text(text.split("```python\n")[1].split("```")[0])
    path = tmp_path / "report.json"
    async with listening(sys.executable, "-c", ROOMS) as server:
        code, out, err = await run(*loadtest(
            "broadcast", "--target", "rooms:Rooms", "--url", server.url, "--clients", "50", "--topics", "2", "--rate", "20",
            "--duration", "1", "--threshold", "delivered==1000", "--json", str(path),
        ), env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert code == 0, out + err
    assert orjson.loads(path.read_bytes())["checks"] == NONE
