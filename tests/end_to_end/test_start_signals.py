"""Signals that come while the process starts: the kernel says from when on it handles them."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.processes import PATIENCE, Process, start

SERVE = (sys.executable, "-m", "service", "serve", "--port", "0")
DELAYS = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5)
"""Seconds after the process could handle signals: moments of the imports and, on a fast machine, after them."""

IMPORTING = """
import select, sys, types
module = sys.modules["service.command_line"] = types.ModuleType("service.command_line")
def run_command(arguments):
    print("importing", flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        pass
module.run_command = run_command
from service.__main__ import main
main()
"""
"""A start that takes until its input ends; no call of it takes long, as Python handles signals between calls."""


def ended_by(number: signal.Signals) -> bytes:
    return f"sluice: stopped by {number.name} during the start\n".encode()


def masks(child: Process) -> dict[str, int]:
    """Return the signals that are ignored and caught, as bits."""
    lines = Path(f"/proc/{child.process.pid}/status").read_text().splitlines()
    return {
        name: int(mask, 16)
        for name, mask in (line.split(":\t") for line in lines)
        if name.startswith("Sig") and name != "SigQ"
    }


async def handled(child: Process) -> None:
    """Wait until the process, which Python has just begun to be, says what SIGTERM does."""
    async with asyncio.timeout(PATIENCE):
        while not masks(child)["SigCgt"] >> (signal.SIGTERM - 1) & 1:
            await asyncio.sleep(0.001)  # a mask of another process


async def started(*command: str) -> Process:
    child = await start(*command)
    await handled(child)
    return child


async def test_hangups_during_the_start_do_not_end_the_service() -> None:
    child = await started(*SERVE)
    line = asyncio.create_task(child.line())
    sent = 0
    while not line.done():
        child.process.send_signal(signal.SIGHUP)
        sent += 1
        await asyncio.wait([line], timeout=0.02)
    assert sent > 1
    url = (await line).split("listening on")[1].strip()
    async with aiohttp.ClientSession(url) as session, session.get("/healthz") as answer:
        assert answer.status == 200
    assert await child.stop() == 0
    await child.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_at_any_moment_of_the_start(number: signal.Signals) -> None:
    for delay in DELAYS:
        child = await started(*SERVE)
        await asyncio.wait([asyncio.ensure_future(child.process.wait())], timeout=delay)
        child.process.send_signal(number)
        code = await child.ended()
        await child.close()
        if code == 0:
            # It served already, and has drained.
            assert b'"drained"' in child.errors, child.errors
        else:
            assert (code, child.output, child.errors) == (128 + number, b"", ended_by(number)), delay


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_while_it_opens_what_takes_long(number: signal.Signals, tmp_path: Path) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "slow.py").write_text(f"import time\nopen({str(imported)!r}, 'w').close()\ntime.sleep(1000)\n")
    child = await start(*SERVE, "--jobs", "slow", env={"PYTHONPATH": str(tmp_path)})
    async with asyncio.timeout(PATIENCE):
        while not imported.exists():
            await asyncio.sleep(0.01)
    child.process.send_signal(number)
    assert await child.ended() == 128 + number
    await child.close()
    assert (child.output, child.errors) == (b"", ended_by(number))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "fetch", "token"])
async def test_a_start_that_a_signal_ends_is_one_line(command: str, number: signal.Signals) -> None:
    child = await start(sys.executable, "-c", IMPORTING, command, stdin=asyncio.subprocess.PIPE)
    assert await child.line() == "importing\n"
    child.process.send_signal(number)
    assert await child.ended() == 128 + number
    await child.close()
    assert (child.output, child.errors) == (b"", ended_by(number))
