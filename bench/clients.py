"""Both clients: random schedules, and what 10,000 messages a second cost them beside their WebSocket libraries."""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import orjson
import psutil

from service.client import Client

ROOT = Path(__file__).parent.parent
MODULE = ROOT / "service" / "edge" / "static" / "sluice.js"
MODEL = ROOT / "tests" / "end_to_end" / "model.mjs"
READER = Path(__file__).parent / "clients.mjs"
ROUNDS = 3
RATE = 10_000
"""Messages a second."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--schedules", type=int, default=5000, metavar="N")
    parser.add_argument("--seconds", type=int, default=5, metavar="N")
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.read:
        begun = time.process_time()
        asyncio.run((read_bare if options.bare else read_client)(options.read, options.count))
        print(f"cpu {time.process_time() - begun:.3f} {psutil.Process().memory_info().rss / 2**20:.1f}")
        return {}
    figures: dict[str, Any] = {"schedules": schedules(options.schedules)}
    figures["receiving"] = asyncio.run(receiving(options.seconds))
    return figures


def schedules(count: int) -> dict[str, Any]:
    """Run the random schedules of both clients; the first one that fails ends it."""
    if not count:
        return {}
    program = f"from tests.client.model import try_schedules; try_schedules(range({count}))"
    commands = {"python": [sys.executable, "-c", program]}
    if node := shutil.which("node"):
        commands["javascript"] = [node, str(MODEL), str(MODULE), "0", str(count)]
    figures = {}
    for name, command in commands.items():
        begun = time.monotonic()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        figures[name] = {"schedules": count, "seconds": round(time.monotonic() - begun, 1)}
        print(f"{name}: {count} random schedules held in {figures[name]['seconds']} s")
    return figures


async def receiving(seconds: int) -> dict[str, Any]:
    """Have each kind of client receive the same messages at the same rate, and compare the CPU time."""
    count = RATE * seconds
    python = [sys.executable, "-m", "bench", "clients", "--count", str(count), "--read"]
    kinds = {"python": python, "aiohttp": [*python[:-1], "--bare", "--read"]}
    if node := shutil.which("node"):
        kinds["javascript"] = [node, str(READER), str(MODULE), str(count)]
        kinds["ws"] = [node, str(READER), "bare", str(count)]
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, command in kinds.items():
            took[name].append(await received(command, count))
    figures: dict[str, Any] = {}
    for name, rounds in took.items():
        # What others do on the machine only adds to it.
        cpu, memory = (min(values) for values in zip(*rounds, strict=True))
        figures[name] = {"cpu_s": cpu, "rss_mib": memory}
        print(f"{name}: {count} messages at {RATE} a second took {cpu:.3f} s of CPU and {memory:.1f} MiB")
    for name, beside in (("python", "aiohttp"), ("javascript", "ws")):
        if name in figures:
            figures[name]["times"] = round(figures[name]["cpu_s"] / figures[beside]["cpu_s"], 2)
            print(f"{name}: {figures[name]['times']} times {beside}")
    return figures


async def received(command: list[str], count: int) -> tuple[float, float]:
    """Return the CPU time of a process that receives ``count`` messages, after its start, and its memory in MiB."""
    application = aiohttp.web.Application()

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        socket = aiohttp.web.WebSocketResponse(protocols=("sluice.v1",))
        await socket.prepare(request)
        asked = orjson.loads(await socket.receive_str())
        start = {"topic": "t", "epoch": "e", "offset": 0, "recovered": True}
        await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": start})
        begun = time.monotonic()
        for offset in range(1, count + 1):
            data = {"n": offset, "text": "x" * 60}
            params = {"topic": "t", "offset": offset, "data": data}
            await socket.send_str(orjson.dumps({"jsonrpc": "2.0", "method": "message", "params": params}).decode())
            if offset % 100 == 0:
                await asyncio.sleep(max(0.0, begun + offset / RATE - time.monotonic()))
        await asyncio.wait_for(socket.receive(), 30)
        return socket

    application.router.add_get("/ws", handle)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    process = await asyncio.create_subprocess_exec(
        *command, f"http://127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "NODE_PATH": "/usr/share/nodejs"},
    )  # fmt: skip
    out, _ = await process.communicate()
    await runner.cleanup()
    _, cpu, memory = next(line for line in out.decode().splitlines() if line.startswith("cpu ")).split()
    return float(cpu), float(memory)


async def read_client(url: str, count: int) -> None:
    async with Client(url) as client:
        async for value in client.subscribe("t", since="oldest"):
            if value.offset == count:  # type: ignore[union-attr]
                break


async def read_bare(url: str, count: int) -> None:
    """Receive with the library alone, and read the JSON, as every program has to."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws") as socket:
        await socket.send_str('{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"t"}}')
        async for message in socket:
            if orjson.loads(message.data).get("params", {}).get("offset") == count:
                break
