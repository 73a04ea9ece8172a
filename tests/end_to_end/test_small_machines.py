"""Machines with little memory and few descriptors: real limits, and a service that stays below them."""

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.end_to_end.processes import Process, listening, origin
from tests.end_to_end.test_floods import UPGRADE

SERVE = f'exec {sys.executable} -m service serve --port 0 --heartbeat 600 "$@"'
LIMIT = 256 << 20


def limited(setup: str, *options: str):  # type: ignore[no-untyped-def]
    """Run the service under limits that a shell sets first."""
    return listening("sh", "-c", f"{setup} && {SERVE}", "sh", *options)


@contextlib.contextmanager
def control_group() -> Iterator[Path]:
    """Make a control group of 256 MiB (version 1 or 2), or skip the test."""
    root = Path("/sys/fs/cgroup")
    name = f"sluice-test-{os.getpid()}"
    for group, limit in ((root / "memory" / name, "memory.limit_in_bytes"), (root / name, "memory.max")):
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(LIMIT))
                yield group
                return
        finally:
            group.rmdir()
    pytest.skip("no control group for memory can be made here")


async def outcomes(server: Process, urls: list[str], options: dict[str, object]) -> Counter[str]:
    """Run a batch of which every event is read, and count what came."""
    seen: Counter[str] = Counter()
    body = {"urls": urls, "options": options}
    headers = {"Accept": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession(server.url, read_bufsize=4 << 20) as session,
        session.post("/fetch-batch", json=body, headers=headers) as answer,
    ):
        if answer.status != 200:
            return Counter({str(answer.status): 1})
        async for line in answer.content:
            event = orjson.loads(line)
            seen[event.get("error", event["event"])] += 1
    return seen


async def test_ten_large_batches_fit_a_control_group() -> None:
    with control_group() as group:
        async with origin() as upstream:
            options = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
            async with limited(f"echo $$ > {group}/cgroup.procs", *options) as server:
                urls = [f"{upstream.url}/bytes/400000?{number}" for number in range(100)]
                runs = (
                    outcomes(server, urls, {"cache": "no-store", "retries": 0, "timeout": 120}) for _ in range(10)
                )
                ended = await asyncio.wait_for(asyncio.gather(*runs), 150)
                assert server.process.returncode is None, "the kernel has ended it"
    for seen in ended:
        # A batch waits for memory; one that comes when there is none at all is refused.
        assert seen == {"503": 1} or (seen["result"], seen["done"]) == (100, 1), seen
    assert sum(seen["result"] for seen in ended) >= 100


async def burst(server: Process, count: int) -> tuple[Counter[bytes], list[bytes]]:
    """Ask for this many upgrades at once; return the answers, and what health checks got meanwhile."""
    answers: Counter[bytes] = Counter()
    writers = []

    async def client(request: bytes = UPGRADE) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            return (await reader.readline())[9:12]
        return b""

    clients = [asyncio.create_task(client()) for _ in range(count)]
    health = []
    while not all(task.done() for task in clients):
        path = b"readyz" if len(health) % 2 else b"healthz"
        health.append(await client(b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path))
    for task in clients:
        answers[task.result()] += 1
    for writer in writers:
        writer.transport.abort()
    return answers, health


async def test_of_a_burst_those_that_fit_the_descriptors_get_in() -> None:
    async with limited("ulimit -n 300") as server:
        answers, health = await asyncio.wait_for(burst(server, 600), 60)
    assert answers[b"101"] == 120, answers
    assert set(answers) == {b"101", b"503"}, "nobody is left without an answer"
    assert health
    assert set(health) <= {b"200"}


async def test_address_space_is_a_limit_of_memory() -> None:
    async with limited("ulimit -v 180000") as server:
        answers, health = await asyncio.wait_for(burst(server, 2500), 60)
        assert server.process.returncode is None
    assert set(answers) == {b"101", b"503"}, "some get in, and the others are refused"
    assert set(health) <= {b"200", b"503"}
