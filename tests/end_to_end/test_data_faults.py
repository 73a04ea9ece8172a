"""What can be wrong with a data directory: each ends as docs/operations.md says, with one line where it cannot start."""

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from tests.end_to_end.processes import program, run, service
from tests.end_to_end.test_data import again

ROOM = 6 << 20
OPTIONS = ("--ring-messages", "100000", "--rings-size", str(64 << 20), "--ring-size", str(32 << 20))


async def publish(session: aiohttp.ClientSession, topic: str, data: object) -> tuple[int, Any]:
    """Publish, and return the status and the document."""
    async with session.post(f"/topics/{topic}", json=data) as answer:
        return answer.status, await answer.json()


async def refused(data: Path) -> str:
    """Start a service that cannot; return its one line."""
    code, out, err = await run(sys.executable, "-m", "service", "serve", "--port", "0", "--data", str(data))
    assert (code, out, err.count("\n")) == (1, "", 1), err
    return err


@asynccontextmanager
async def small_disk(path: Path, options: str) -> AsyncIterator[Path]:
    """Mount a file system of its own, or skip where that is not allowed."""
    path.mkdir()
    mounted = await asyncio.to_thread(
        subprocess.run, ("mount", "-t", "tmpfs", "-o", options, "none", str(path)), capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield path
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", "-l", str(path)), check=True)


async def fill(session: aiohttp.ClientSession, topic: str) -> list[int]:
    """Publish until the disk is full; return the sizes that were acknowledged, in order."""
    sizes: list[int] = []
    async with asyncio.timeout(60):
        while True:
            size = 30_000 + len(sizes)
            status, document = await publish(session, topic, "x" * size)
            if status != 200:
                assert (status, document["reason"]) == (503, "storage")
                return sizes
            sizes.append(size)


async def goes_on(session: aiohttp.ClientSession, topic: str) -> int:
    """Publish until there is room again; return the offset."""
    async with asyncio.timeout(60):
        while True:
            status, document = await publish(session, topic, "y" * 30_000)
            if status == 200:
                return int(document["offset"])
            await asyncio.sleep(0.05)


async def kept(session: aiohttp.ClientSession, topic: str, through: int) -> list[int]:
    """Return the sizes of the messages of a topic, from the first to this offset."""
    sizes: list[int] = []
    parameters = {"since": "oldest"}
    async with session.get(
        f"/topics/{topic}/events", params=parameters, headers={"Accept": "application/x-ndjson"}
    ) as answer:
        while len(sizes) < through:
            line = await asyncio.wait_for(answer.content.readuntil(b"\n"), 60)
            assert line, "the stream has ended"
            if b'"event"' not in line:
                sizes.append(len(line) - len(b'{"offset":%d,"data":""}\n' % (len(sizes) + 1)))
    return sizes


async def test_a_full_disk_refuses_and_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", f"size={ROOM}") as disk:
        options = ("--data", str(disk / "data"), *OPTIONS)
        # Something that can be deleted later, as an operator would.
        (disk / "other").write_bytes(b"x" * (ROOM // 3))
        async with service(*options) as server:
            port = server.port
            async with aiohttp.ClientSession(server.url) as session:
                sizes = await fill(session, "t")
                assert len(sizes) > 10
                assert (await publish(session, "v", 1))[0] in (200, 503)
                async with session.get("/healthz") as health:
                    assert health.status == 200
                (disk / "other").unlink()
                assert await goes_on(session, "t") == len(sizes) + 1
            await server.kill()
        server = await again(port, *options)
        async with aiohttp.ClientSession(server.url) as session:
            assert await kept(session, "t", len(sizes) + 1) == [*sizes, 30_000]
        await server.stop()
        assert server.errors == b"" or b"Traceback" not in server.errors


async def test_a_limit_of_file_sizes_is_like_a_full_disk(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), *OPTIONS)
    async with service(*options) as server:
        limit = server.process.pid, resource.RLIMIT_FSIZE
        _, hard = resource.prlimit(*limit)
        resource.prlimit(*limit, (2 << 20, hard))
        async with aiohttp.ClientSession(server.url) as session:
            sizes = await fill(session, "t")
            resource.prlimit(*limit, (hard, hard))
            assert await goes_on(session, "t") == len(sizes) + 1
            assert await kept(session, "t", len(sizes) + 1) == [*sizes, 30_000]


async def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", "size=1m") as disk:
        (disk / "data").mkdir(mode=0o700)
        await asyncio.to_thread(subprocess.run, ("mount", "-o", "remount,ro", str(disk)), check=True)
        assert "Read-only file system" in await refused(disk / "data")


async def test_a_foreign_file_is_one_line_and_stays_as_it_was(tmp_path: Path) -> None:
    content = b"a note\n" * 1000
    (tmp_path / "sluice.db").write_bytes(content)
    assert "is not a database of sluice" in await refused(tmp_path)
    assert (tmp_path / "sluice.db").read_bytes() == content


async def format_of(data: Path, version: int | None = None) -> int:
    """Return the format of a directory, after changing it."""

    def look() -> int:
        with contextlib.closing(apsw.Connection(str(data / "sluice.db"))) as database:
            if version is not None:
                database.pragma("user_version", version)
            if version == 1:
                database.execute("DROP TABLE watches")
            found: int = database.pragma("user_version")
            return found

    return await asyncio.to_thread(look)


async def test_a_newer_format_is_one_line_and_an_older_one_is_migrated(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with service("--data", str(data)) as server, aiohttp.ClientSession(server.url) as session:
        _, before = await publish(session, "t", 1)
    current = await format_of(data)
    await format_of(data, 99)
    assert "format 99" in await refused(data)
    await format_of(data, 1)
    async with service("--data", str(data)) as server, aiohttp.ClientSession(server.url) as session:
        assert await publish(session, "t", 2) == (200, {**before, "offset": 2})
    assert await format_of(data) == current


async def test_a_clock_that_is_set_back_by_an_hour_changes_no_position(tmp_path: Path) -> None:
    faketime = program("faketime", "Debian: faketime")
    # Its parents are missing too.
    data = ("--data", str(tmp_path / "missing" / "too" / "data"))
    key = {"Idempotency-Key": '"k"'}
    async with service(*data) as server, aiohttp.ClientSession(server.url) as session:
        async with session.post("/topics/t", json=1, headers=key) as answer:
            first = await answer.json()
        port = server.port
    library = await _preloaded(faketime)
    server = await again(
        port, *data, env={"LD_PRELOAD": library, "FAKETIME": "-1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    )
    async with aiohttp.ClientSession(server.url) as session:
        async with session.post("/topics/t", json=1, headers=key) as answer:
            assert await answer.json() == first
        assert await publish(session, "t", 2) == (200, {**first, "offset": 2})
        assert len(await kept(session, "t", 2)) == 2
    await server.stop()


async def _preloaded(faketime: str) -> str:
    """Return the library that Debian's faketime puts before all others: its own process would change the id."""
    _, out, _ = await run(faketime, "-f", "-1h", "sh", "-c", "echo $LD_PRELOAD")
    return out.strip()
