"""The examples, run as they stand."""

import sys
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, origin, program, run, service


async def test_the_python_example_follows_a_batch() -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        code, out, err = await run(
            sys.executable, str(ROOT / "examples" / "client.py"), server.url,
            f"{upstream.url}/bytes/5", "http://127.0.0.1:1/", env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert code == 0, err
    assert sorted(line.split()[0] for line in out.splitlines()) == ["done", "failed", "result"]
    assert out.splitlines()[-1].startswith("done")


async def test_the_javascript_example_publishes_reads_and_fetches() -> None:
    node = program("node", "Debian: nodejs")
    if not Path("/usr/share/nodejs/ws").exists():
        pytest.skip("the package ws is not installed (Debian: node-ws)")
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        code, out, err = await run(
            node, str(ROOT / "examples" / "client.js"), server.url, f"{upstream.url}/bytes/5", "http://127.0.0.1:1/",
            env={"NODE_PATH": "/usr/share/nodejs"},
        )  # fmt: skip
    assert code == 0, err
    first, *events, done = out.splitlines()
    assert first == 'message 1: {"hello":"world"}'
    assert sorted(event.split()[0] for event in events) == ["failed", "result"]
    assert done.startswith("done")
