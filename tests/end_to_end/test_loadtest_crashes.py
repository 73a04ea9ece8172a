"""``loadtest broadcast --crash``: green where nothing that was acknowledged is missing, and red where it is."""

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.end_to_end.processes import PATIENCE, Process, free_port, loadtest, run, service
from tests.end_to_end.test_data import again

LOAD = ("--clients", "20", "--rate", "50", "--duration", "3", "--crashes", "1", "--settle", "60", "--quiet")


def figures(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    return {**document["checks"], **document["counters"], "down": document["latency_ms"]["down"]["count"]}


async def test_the_demo_kills_a_service_that_keeps_its_topics(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    code, out, err = await run(
        *loadtest("demo", "--data", "--clients", "50", "--duration", "4", "--crashes", "2", "--settle", "60"),
        "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"),
        env={"TMPDIR": str(tmp_path / "tmp")}, within=4 * PATIENCE,
    )  # fmt: skip
    assert code == 0, out + err
    found = figures(tmp_path / "r.json")
    assert (found["crashes"], found["down"]) == (2, 2)
    # A machine under load may be slower to bring them back than the next crash is to come.
    assert found["returned"] == found["recovered"] >= 50
    assert found["acknowledged"] == 200
    assert found["delivered"] == 200 * 50
    assert [found[name] for name in ("missing", "republished", "lost", "repeated", "epochs_changed")] == [0] * 5
    assert "service killed                        2 times" in out
    assert "verdict                      passed" in out
    assert (tmp_path / "r.html").exists()
    assert list((tmp_path / "tmp").iterdir()) == [], "the directory is gone"


async def test_a_service_that_keeps_nothing_does_not_pass(tmp_path: Path) -> None:
    port = free_port()
    command = shlex.join([sys.executable, "-m", "service", "serve", "--port", str(port)])
    report = tmp_path / "r.json"
    code, out, err = await run(
        *loadtest("broadcast", "--url", f"http://127.0.0.1:{port}", *LOAD, "--crash", command, "--json", str(report)),
        within=4 * PATIENCE,
    )  # fmt: skip
    assert code == 99, out + err
    assert "FAILED epochs_changed==0: " in out
    assert figures(report)["not_recovered"] > 0


async def test_a_process_that_somebody_else_starts_again(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"))
    report = tmp_path / "r.json"
    async with service(*options) as server:

        async def start_again() -> Process:
            """Do what systemd does."""
            await server.process.wait()
            return await again(server.port, *options)

        successor = asyncio.create_task(start_again())
        code, out, err = await run(
            *loadtest("broadcast", "--url", server.url, *LOAD, "--crash", str(server.process.pid)),
            "--json", str(report), within=4 * PATIENCE,
        )  # fmt: skip
        assert code == 0, out + err
        await (await successor).stop()
    found = figures(report)
    assert (found["crashes"], found["missing"], found["acknowledged"]) == (1, 0, 150)
    assert found["returned"] == found["recovered"] >= 20
