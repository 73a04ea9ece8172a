"""Jobs of a service whose disk is full, or whose clock is set."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.processes import program, run, service

MODULE = """
import time
from pathlib import Path

from service.jobs import job


@job
def wait(file: str) -> str:
    while not Path(file).exists():
        time.sleep(0.01)
    Path(file).unlink()
    return "x" * 1000
"""


async def make(session: aiohttp.ClientSession, body: Any) -> str:
    async with session.post("/jobs", json=body) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["job"])


async def state(session: aiohttp.ClientSession, job: str) -> str:
    async with session.get(f"/jobs/{job}") as answer:
        return str((await answer.json())["state"])


async def becomes(session: aiohttp.ClientSession, job: str, wanted: str) -> None:
    async with asyncio.timeout(30):
        while (found := await state(session, job)) != wanted:
            assert found in ("scheduled", "queued", "running"), found
            await asyncio.sleep(0.02)


async def names_of(session: aiohttp.ClientSession, job: str) -> list[str]:
    async with session.get(f"/jobs/{job}/events") as answer:
        return [line.split('"')[3] for line in (await answer.text()).splitlines() if '"event"' in line]


async def test_on_a_full_disk_jobs_are_refused_and_one_that_ends_is_done_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(MODULE)
    options = ("--data", str(tmp_path / "data"), "--jobs", "functions")
    async with (
        service(*options, env={"PYTHONPATH": str(tmp_path)}) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        job = await make(session, {"run": {"name": "wait", "args": [str(tmp_path / "go")]}})
        await becomes(session, job, "running")
        process, unlimited = server.process.pid, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        async with session.post("/jobs", json={"publish": {"topic": "t", "data": 1}}) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (503, "storage")
        async with session.delete(f"/jobs/{job}") as answer:
            assert answer.status == 503
        assert await state(session, job) == "running"
        (tmp_path / "go").touch()
        async with asyncio.timeout(30):
            while (tmp_path / "go").exists():
                await asyncio.sleep(0.01)
        resource.prlimit(process, resource.RLIMIT_FSIZE, unlimited)
        await becomes(session, job, "done")
        assert await names_of(session, job) == ["queued", "started", "done"]


async def test_a_clock_that_is_set_forth_and_back_by_an_hour_counts(tmp_path: Path) -> None:
    faketime = program("faketime", "Debian: faketime")
    _, out, _ = await run(faketime, "-f", "+0", "sh", "-c", "echo $LD_PRELOAD")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": out.strip(), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    async with (
        service("--data", str(tmp_path / "data"), env=env) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        publish = {"publish": {"topic": "t", "data": 1}}
        first = await make(session, {**publish, "delay": 3000})
        assert await state(session, first) == "scheduled"
        clock.write_text("+1h")
        await becomes(session, first, "done")
        assert await names_of(session, first) == ["queued", "started", "done"]
        second = await make(session, {**publish, "delay": 60})
        clock.write_text("+0")
        # What is due now begins, and what is due in more than an hour by this clock does not.
        await becomes(session, await make(session, publish), "done")
        assert await state(session, second) == "scheduled"
