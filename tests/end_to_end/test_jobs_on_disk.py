"""Jobs of a real service that is killed again and again: each ends once, and nothing runs after its cancel."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.end_to_end.processes import service
from tests.end_to_end.test_data import again

KILLS, EACH = 2, 36
"""Fewer kills than attempts that may be lost in a row."""
MODULE = """
import time
from pathlib import Path

from service.jobs import Context, job


@job
def effect(folder: str, context: Context) -> str:
    with (Path(folder) / context.job).open("a") as file:
        file.write("x")
    context.progress(1, 2)
    time.sleep(0.05)
    return context.key
"""


async def post(session: aiohttp.ClientSession, body: Any) -> str:
    """Make a job, again and again until it is acknowledged."""
    while True:
        try:
            async with session.post("/jobs", json=body) as answer:
                if answer.status in (200, 202):
                    return str((await answer.json())["job"])
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.02)


async def make_jobs(session: aiohttp.ClientSession, folder: Path, number: int) -> dict[str, list[str]]:
    """Make jobs of each kind, half of them due a moment later; some are made twice with one key, some cancelled."""
    made: dict[str, list[str]] = {"kept": [], "cancelled": []}
    for item in range(EACH):
        delay = item % 2 * 0.7
        run = {"run": {"name": "effect", "args": {"folder": str(folder)}}, "delay": delay}
        publish = {"publish": {"topic": "t", "data": item}, "delay": delay, "key": f"{number}-{item}"}
        batch = {"fetch": {"urls": ["nonsense"]}, "delay": delay}
        made["kept"] += [await post(session, run if item % 4 == 0 else batch if item % 4 == 1 else publish)]
        if item % 20 == 2:
            assert await post(session, publish) == made["kept"][-1]
        if item % 10 == 5:
            later = await post(session, {**run, "delay": 600})
            async with session.delete(f"/jobs/{later}") as answer:
                assert (await answer.json()) == {"cancelled": True, "state": "cancelled"}
            made["cancelled"].append(later)
    return made


async def names_of(session: aiohttp.ClientSession, job: str) -> list[str]:
    """Return the events of a job when its run is over."""
    async with session.get(f"/jobs/{job}/events") as answer:
        return [orjson.loads(line)["event"] for line in (await answer.read()).splitlines()]


async def test_kills_lose_no_job_and_end_none_twice(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.mkdir()
    (tmp_path / "functions.py").write_text(MODULE)
    env = {"PYTHONPATH": str(tmp_path)}
    options = ("--data", str(tmp_path / "data"), "--jobs", "functions")
    kept: list[str] = []
    cancelled: list[str] = []
    async with service(*options, env=env) as server:
        port = server.port
        async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
            for number in range(KILLS):
                made = await make_jobs(session, effects, number)
                kept += made["kept"]
                cancelled += made["cancelled"]
                await server.kill()
                server = await again(port, *options, env=env)
            ends: Counter[str] = Counter()
            for job in kept:
                names = await names_of(session, job)
                last = [name for name in names if name in ("done", "failed", "cancelled")]
                assert (len(last), names[0], names[-1]) == (1, "queued", last[0]), names
                ends[last[0]] += 1
            for job in cancelled:
                assert await names_of(session, job) == ["queued", "cancelled"]
                assert not (effects / job).exists()
            assert ends == {"done": len(kept)}
            async with session.get("/topics/t") as answer:
                assert (await answer.json())["offset"] == KILLS * EACH // 2
        for file in effects.iterdir():
            assert 1 <= len(file.read_text()) <= 3
        await server.stop()
