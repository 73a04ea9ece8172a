"""The service killed and started again, with a small listener in its place; in real time, as processes are."""

import asyncio
import os
import sys
from argparse import Namespace

import pytest

from loadtest.crashes import CannotCrash, Crashes, crashing
from loadtest.report import RunReport
from tests.end_to_end.processes import free_port

LISTENER = "import signal, socket; s = socket.create_server(('127.0.0.1', {port})); signal.pause()"


def options(crash: str, port: int) -> Namespace:
    return Namespace(crash=crash, crashes=2, duration=0.3, url=f"http://127.0.0.1:{port}")


def listener(port: int) -> list[str]:
    return [sys.executable, "-c", LISTENER.format(port=port)]


async def crashed(crashes: Crashes) -> list[str]:
    """Have all crashes happen; return why they could not."""
    failed: list[str] = []
    crashes.begin(failed.append, asyncio.get_running_loop().time())
    assert crashes._running is not None
    await asyncio.wait_for(asyncio.shield(crashes._running), 60)
    return failed


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_command_is_started_killed_and_started_again() -> None:
    report, port = RunReport("broadcast", "x"), free_port()
    command = f'{sys.executable} -c "{LISTENER.format(port=port)}"'
    async with crashing(options(command, port), report) as crashes:
        assert crashes is not None
        pids = [crashes._pid]
        crashes.on_started = lambda: pids.append(crashes._pid)
        assert await crashed(crashes) == []
    assert len(set(pids)) == 3
    assert report.counters["crashes"] == report.latency("down").count == 2
    assert not any(map(exists, pids)), "nothing is left behind"


async def test_a_process_is_killed_and_its_successor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    report, port = RunReport("broadcast", "x"), free_port()
    started = [await asyncio.create_subprocess_exec(*listener(port))]

    async def start_again() -> None:
        """Do what systemd does."""
        while len(started) < 3:
            await started[-1].wait()
            started.append(await asyncio.create_subprocess_exec(*listener(port)))

    again = asyncio.create_task(start_again())
    try:
        async with crashing(options(str(started[0].pid), port), report) as crashes:
            assert crashes is not None
            assert await crashed(crashes) == []
        assert exists(started[2].pid), "what somebody else has started stays"
    finally:
        again.cancel()
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.wait()
    assert report.counters["crashes"] == report.latency("down").count == 2


async def test_a_process_that_nobody_starts_again_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.crashes._START", 0.1)
    port = free_port()
    process = await asyncio.create_subprocess_exec(*listener(port))
    async with crashing(options(str(process.pid), port), RunReport("broadcast", "x")) as crashes:
        assert crashes is not None
        (why,) = await crashed(crashes)
    await process.wait()
    assert "nobody has started the service again" in why


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("/nothing/here", "/nothing/here: No such file"),
        (f"{sys.executable} -c \"print('no'); print('bad luck')\"", "is not up at .*: bad luck"),
        ("true", "is not up at .*: it said nothing"),
    ],
)
async def test_a_command_that_does_not_serve_is_named(command: str, named: str) -> None:
    with pytest.raises(CannotCrash, match=named):
        async with crashing(options(command, free_port()), RunReport("broadcast", "x")):
            pass
