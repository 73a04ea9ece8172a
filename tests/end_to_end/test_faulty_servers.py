"""What a server does wrong is reported as what it is, with its size and its place; a correct one has no findings."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.processes import listening, loadtest, run

FAULTY = str(Path(__file__).parent / "faulty.py")
CLIENTS, RATE, SECONDS = 250, 40, 3
MESSAGES = RATE * SECONDS
LATE = CLIENTS // 50
NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}


def faulty(fault: str):  # type: ignore[no-untyped-def]
    return listening(sys.executable, FAULTY, fault, env={"PYTHONPATH": str(Path(FAULTY).parent.parent.parent)})


async def report(tmp_path: Path, fault: str, *options: str) -> Any:
    """Run a broadcast against a server with this fault."""
    path = tmp_path / "report.json"
    async with faulty(fault) as server:
        code, _, err = await run(*loadtest(
            "broadcast", "--url", server.url, "--clients", str(CLIENTS), "--rate", str(RATE),
            "--duration", str(SECONDS), "--settle", "5", "--json", str(path), *options,
        ))  # fmt: skip
    assert code == 0, err
    return orjson.loads(path.read_bytes())


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_correct_server_has_no_findings(tmp_path: Path, processes: str) -> None:
    reported = await report(tmp_path, "none", "--processes", processes)
    assert (reported["checks"], reported["findings"], reported["errors"]) == (NONE, [], {})
    assert reported["counters"]["delivered"] == reported["latency_ms"]["delivery"]["count"] == CLIENTS * MESSAGES
    assert reported["latency_ms"]["last_delivery"]["count"] == MESSAGES


async def test_a_stall_of_a_second(tmp_path: Path) -> None:
    reported = await report(tmp_path, "stall")
    (found,) = reported["findings"]
    assert (found["kind"], reported["checks"]) == ("stalled", NONE)
    # On a machine that does other things everything may be later by far, and nothing can be sooner.
    assert 950 < found["size"] < 5000
    assert 990 < reported["latency_ms"]["delivery"]["max"] < 10_000
    # A third of three seconds: a sixth of all messages waited for more than half of it.
    assert reported["latency_ms"]["delivery"]["p90"] > 500


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_one_delivery_in_250_is_dropped(tmp_path: Path, processes: str) -> None:
    reported = await report(tmp_path, "drop", "--clients", "249", "--processes", processes)
    lost = 249 * MESSAGES // 250
    assert reported["checks"] == {**NONE, "lost": lost}
    assert reported["counters"]["delivered"] == 249 * MESSAGES - lost
    places = [found for found in reported["findings"] if found["clients"]]
    assert {(found["kind"], found["size"], found["clients"]) for found in places} == {("lost", 1, 1)}
    assert reported["findings"][-1]["text"] == f"lost at {lost - 20} more places"


async def test_one_reader_who_gets_nothing_is_one_place(tmp_path: Path) -> None:
    # Every 250th delivery to 250 readers is always the same reader's.
    reported = await report(tmp_path, "drop")
    (found,) = reported["findings"]
    assert (found["kind"], found["size"], found["clients"]) == ("lost", MESSAGES, 1)
    assert [(one["check"], one["messages"]) for one in reported["clients"]] == [("lost", MESSAGES)]


@pytest.mark.parametrize(("fault", "kind"), [("repeat", "repeated"), ("swap", "reordered")])
async def test_one_message_of_one_reader(tmp_path: Path, fault: str, kind: str) -> None:
    reported = await report(tmp_path, fault)
    assert reported["checks"] == {**NONE, kind: 1}
    (found,) = reported["findings"]
    assert (found["kind"], found["size"], found["clients"]) == (kind, 1, 1)
    assert "message 50 of" in found["text"]


async def test_the_last_fiftieth_of_the_clients_is_late(tmp_path: Path) -> None:
    reported = await report(tmp_path, "late")
    (found,) = reported["findings"]
    assert (found["kind"], found["clients"], reported["checks"]) == ("late", LATE, NONE)
    assert 240 <= found["size"] < 3000, "300 ms, and what a loaded machine adds"


async def test_a_stall_at_a_steady_rate_is_in_the_percentiles_and_a_closed_loop_hides_it(tmp_path: Path) -> None:
    latencies = {}
    for model in ("open", "closed"):
        path = tmp_path / model
        async with faulty("stall") as server:
            code, _, err = await run(*loadtest(
                "echo", "--target", "echo", "--url", server.url, "--clients", "1", "--rate", "100", "--think", "0.01",
                "--duration", "5", "--warm-up", "0", "--model", model, "--json", str(path),
            ))  # fmt: skip
        assert code == 0, err
        latencies[model] = orjson.loads(path.read_bytes())["latency_ms"]["round_trip"]
    # 100 of 500 were meant for that second, one after the other.
    assert latencies["open"]["count"] == 500
    # A machine that does other things adds to each, and takes nothing away.
    assert 990 < latencies["open"]["max"] < 5000
    assert latencies["open"]["p99"] > 930
    assert latencies["open"]["p90"] > 480
    assert 990 < latencies["closed"]["max"] < 5000
    assert latencies["closed"]["p99"] < 480


async def test_a_target_that_dies_leaves_a_partial_report(tmp_path: Path) -> None:
    path, page = tmp_path / "report.json", tmp_path / "report.html"
    async with faulty("die") as server:
        code, _, err = await run(*loadtest(
            "broadcast", "--url", server.url, "--clients", "100", "--rate", "40", "--duration", "30",
            "--json", str(path), "--html", str(page),
        ), within=60)  # fmt: skip
    reported = orjson.loads(path.read_bytes())
    assert code == 1
    assert "the target is gone, every connection was lost" in err
    assert "Traceback" not in err
    assert 0 < reported["counters"]["delivered"] <= 100 * 50
    assert reported["checks"]["lost"] == 0
    assert "the target is gone" in page.read_text()
