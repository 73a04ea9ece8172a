"""The JavaScript client in each runtime that is here: their WebSockets end in different ways."""

import asyncio

import orjson
import pytest

from tests.client.scripted import Scripted, scripted
from tests.end_to_end import npm
from tests.end_to_end.driving import HERE, node
from tests.end_to_end.processes import PATIENCE, ROOT, start

MODULE = ROOT / "service" / "edge" / "static" / "sluice.js"


@pytest.fixture(params=["ws", "native 20", "native 22", "native 24", "ws 24"])
def runtime(request: pytest.FixtureRequest) -> tuple[list[str], str]:
    """Return how to run a program, and which WebSocket it takes."""
    kind, _, version = request.param.partition(" ")
    if kind == "ws":
        return [npm.node(int(version)) if version else node()], "ws"
    return [node(), "--experimental-websocket"] if version == "20" else [npm.node(int(version))], "native"


async def run(runtime: tuple[list[str], str], service: Scripted, until: str) -> asyncio.subprocess.Process:
    command, kind = runtime
    child = await start(
        *command, "--no-warnings", str(HERE / "runtime.mjs"), str(MODULE), service.url, kind, until,
        stderr=None, env={"NODE_PATH": "/usr/share/nodejs"},
    )  # fmt: skip
    return child.process


async def reported(process: asyncio.subprocess.Process) -> list[str | int]:
    """Return what it has printed when it has ended, which it does by itself."""
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0
    return [orjson.loads(line) for line in out.splitlines()]


async def test_an_answer_without_an_upgrade_is_tried_again_and_a_refused_token_ends_it(
    runtime: tuple[list[str], str],
) -> None:
    async with scripted() as service:
        process = await run(runtime, service, "never")
        for status in (0, 200, 204, 502):
            peer = await asyncio.wait_for(service.waiting.get(), 60)
            peer.answer(status) if status else peer.cut()
        peer = await asyncio.wait_for(service.waiting.get(), 60)
        peer.accept()
        request = await peer.receive()
        assert request["params"]["data"] == 1
        peer.close(4401, "not authorised")
        states = await reported(process)
    tries = ["connecting", "waiting 1006"] * 4
    assert [state for state in states if state not in ("invalid_params", 4401)] == [
        *tries,
        "connecting",
        "open",
        "closed 4401",
    ]
    assert states.count("invalid_params") == 2
    assert 4401 in states


@pytest.mark.parametrize("until", ["connecting", "open"])
async def test_it_ends_with_its_client(runtime: tuple[list[str], str], until: str) -> None:
    async with scripted() as service:
        process = await run(runtime, service, until)
        if until == "open":
            peer = await asyncio.wait_for(service.waiting.get(), 60)
            peer.accept()
            assert (await peer.receive())["method"] == "publish"
            with pytest.raises(ConnectionResetError, match="closed"):
                await peer.receive()
            if runtime[1] != "ws":  # which ends by itself where the other end is mute; the native ones wait for it
                peer.cut()
        assert "closed" in await reported(process)
