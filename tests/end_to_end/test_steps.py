"""Steps and blobs in the real process: kills leave whole files and no process, hostile bodies cost themselves alone."""

import asyncio
import hashlib
import os
import random
import signal
import struct
import sys
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from tests.end_to_end.processes import ROOT, Process, run, service
from tests.procfs import children

KILLS = 5


async def steps(
    session: aiohttp.ClientSession, url: str, given: list[dict[str, Any]], body: bytes
) -> tuple[int, Any]:
    query = quote(orjson.dumps(given).decode())
    async with session.post(f"{url}/steps?steps={query}", data=body) as answer:
        return answer.status, orjson.loads(await answer.read())


async def save_many(url: str, seed: int, saved: dict[str, bytes]) -> None:
    """Save bodies until the service is killed; note those that were acknowledged."""
    chance = random.Random(seed)
    async with aiohttp.ClientSession() as session:
        while True:
            body = chance.randbytes(chance.randrange(1, 200_000))
            try:
                status, answer = await steps(session, url, [{"step": "save"}], body)
            except aiohttp.ClientError:
                return
            assert status == 200
            saved[answer["steps"][0]["sha256"]] = body


async def test_what_was_saved_outlives_kills_and_nothing_is_left_half(tmp_path: Path) -> None:
    saved: dict[str, bytes] = {}
    for kill in range(KILLS):
        async with service("--blobs", str(tmp_path)) as server:
            clients = [asyncio.create_task(save_many(server.url, kill * 10 + one, saved)) for one in range(4)]
            goal = len(saved) + 20
            while len(saved) < goal:
                await asyncio.sleep(0.001)
                assert not any(client.done() for client in clients)
            await server.kill()
            await asyncio.gather(*clients)
    async with service("--blobs", str(tmp_path)) as server, aiohttp.ClientSession(server.url) as session:
        for sha256, body in saved.items():
            async with session.get(f"/blobs/{sha256}") as answer:
                assert (answer.status, await answer.read()) == (200, body)
    for path in tmp_path.rglob("*.*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.split(".")[0]
    assert [*(tmp_path / "new").iterdir()] == []


def workers_of(pid: int) -> list[int]:
    return [one for one in children(pid) if b"service.work.worker" in Path(f"/proc/{one}/cmdline").read_bytes()]


async def gone(pids: list[int]) -> None:
    async with asyncio.timeout(30):
        while any(Path(f"/proc/{pid}").exists() and state_of(pid) != "Z" for pid in pids):
            await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


async def begun(server: Process) -> list[int]:
    """Return the worker processes, once there is one."""
    async with asyncio.timeout(30):
        while not (found := workers_of(server.process.pid)):
            await asyncio.sleep(0.01)
    return found


MODULE = """
import time
import msgspec
from service.work.step import Made, step

class Seconds(msgspec.Struct):
    seconds: float

@step("sleep", Seconds, runs="process")
def sleep(body, parameters):
    time.sleep(parameters.seconds)
    return Made({"slept": parameters.seconds})
"""


async def test_steps_of_ones_own_and_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "own_steps.py").write_text(MODULE)
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    async with service("--steps", "own_steps", env=env) as server, aiohttp.ClientSession() as session:
        assert await steps(session, server.url, [{"step": "sleep", "seconds": 0}], b"") == (
            200, {"steps": [{"step": "sleep", "slept": 0.0}]}
        )  # fmt: skip
        first = await begun(server)
        running = asyncio.create_task(steps(session, server.url, [{"step": "sleep", "seconds": 1}], b""))
        async with session.get(f"{server.url}/healthz") as answer:
            assert answer.status == 200
        os.kill(first[0], signal.SIGKILL)
        status, _ = await running
        assert status == 200, "tried once more"
        # A service that is killed takes its workers with it, even those that are busy.
        running = asyncio.create_task(steps(session, server.url, [{"step": "sleep", "seconds": 600}], b""))
        busy = await begun(server)
        os.kill(server.process.pid, signal.SIGKILL)
        await gone(busy)
        await asyncio.gather(running, return_exceptions=True)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG whose head promises a picture that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


async def test_hostile_bodies_fail_alone_with_a_reason() -> None:
    thumbnail = [{"step": "thumbnail", "width": 100, "height": 100}]
    hostile = {
        "50000 x 50000": bomb(50_000, 50_000),
        "damaged": bomb(9_000, 9_000),
        "not a picture": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    }
    async with service("--step-memory", str(512 << 20)) as server, aiohttp.ClientSession() as session:
        for says, body in hostile.items():
            status, problem = await steps(session, server.url, thumbnail, body)
            assert (status, problem["reason"]) == (422, "step_failed")
            assert says in problem["detail"]
        deep = b"<p>" + b"<b>" * 100_000
        status, problem = await steps(session, server.url, [{"step": "links"}], deep)
        assert (status, problem["reason"]) == (422, "step_failed")
        assert "2,000 elements" in problem["detail"]
        slow = [{"step": "select", "css": "p ~ p ~ p"}]
        quick = [{"step": "digest"}, {"step": "select", "css": "p"}]
        many = b"<p>x</p>" * 1000
        answers = await asyncio.gather(
            steps(session, server.url, slow, many),
            *(steps(session, server.url, quick, b"<p>1</p>") for _ in range(5)),
        )
        assert [status for status, _ in answers] == [200] * 6


async def test_a_module_that_cannot_be_imported_is_one_line_and_exit_1() -> None:
    code, _, err = await run(
        sys.executable, "-m", "service", "serve", "--port", "0", "--steps", "no_such_module", within=60
    )
    assert code == 1
    assert "--steps no_such_module: cannot be imported (ModuleNotFoundError" in err
    assert len(err.strip().splitlines()) == 1
