"""Batches of the real process whose rows are damaged on disk, and those whose reader the restart has cut off."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import orjson

from tests.end_to_end.processes import Process, run, service
from tests.end_to_end.test_batches_on_disk import PATIENCE, STUCK, begin, events, exact, options_of, upstream
from tests.end_to_end.test_data import again

URLS = 40
READ = 12
DAMAGED_EVENT = 5


def flip(data: Path, *rows: tuple[str, int]) -> None:
    """Flip one bit in each of these rows."""
    with contextlib.closing(apsw.Connection(str(data / "sluice.db"))) as database:
        for table, row in rows:
            record = bytearray(database.execute(f"SELECT record FROM {table} WHERE id = ?", (row,)).get)
            record[len(record) // 2] ^= 8
            database.execute(f"UPDATE {table} SET record = ? WHERE id = ?", (bytes(record), row))


async def check(data: Path) -> tuple[int, dict[str, Any]]:
    """Have a directory checked."""
    code, out, _ = await run(sys.executable, "-m", "service", "check", "--json", "--data", str(data))
    return code, json.loads(out)


async def test_one_flipped_bit_in_each_kind_of_row_costs_one_event_and_no_url(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with upstream() as origin:
        options = options_of(data, origin)
        urls = [f"{origin.url}/{number}" for number in range(URLS)]
        async with service(*options) as server:
            port = server.port
            batch = await begin(server, urls)
            sent = await events(server, batch, READ)
            await server.kill()
        rows = (("batches", 1), ("requests", 1), ("outcomes", 3), ("events", DAMAGED_EVENT))
        await asyncio.to_thread(flip, data, *rows)
        code, found = await check(data)
        assert (code, found["damaged"]) == (1, len(rows))
        known = set(origin.asked)
        server = await again(port, *options)
        got = await events(server, batch)
        await server.kill()
        gap, place = {"event": "gap", "from": DAMAGED_EVENT, "to": DAMAGED_EVENT}, DAMAGED_EVENT - 1
        assert got[:READ] == [*sent[:place], gap, *sent[place + 1 :]]
        exact([sent[place] if event == gap else event for event in got], urls)
        asked = [event["url"].removeprefix(origin.url) for event in sent]
        assert {path: origin.asked[path] for path in asked} == dict.fromkeys(asked, 1), "nothing is fetched again"
        assert set(asked) <= known
        code, found = await check(data)
        assert (code, found["damaged"]) == (1, 1), "all but the event were repaired"


async def post(server: Process, urls: list[str], count: int) -> tuple[str, list[dict[str, Any]]]:
    """Post a batch whose events are the answer; return its id, and the first of them, when the service has ended."""
    body = {"urls": urls, "options": {"cache": "no-store", "timeout": 60}}
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(server.url) as session,
        session.post("/fetch-batch", json=body, headers={"Accept": "application/x-ndjson"}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        got: list[dict[str, Any]] = []
        with contextlib.suppress(aiohttp.ClientError):
            async for line in answer.content:
                got.append(orjson.loads(line))
                if len(got) == count:
                    await server.kill()
        return answer.headers["Sluice-Batch"], got


async def test_a_plain_post_goes_on_after_a_kill_for_a_reader_that_comes_back(tmp_path: Path) -> None:
    async with upstream() as origin:
        options = options_of(tmp_path / "data", origin)
        urls = [f"{origin.url}/{number}" for number in range(URLS)]
        async with service(*options) as server:
            port = server.port
            batch, sent = await post(server, urls, READ)
        server = await again(port, *options)
        got = await events(server, batch)
        assert got[: len(sent)] == sent
        exact(got, urls)
        await server.stop()


async def test_a_plain_post_that_nobody_comes_back_for_is_cancelled_after_its_time(tmp_path: Path) -> None:
    async with upstream() as origin:
        options = (*options_of(tmp_path / "data", origin), "--batch-linger", "1")
        urls = [f"{origin.url}/{number}" for number in range(URLS)] + [f"{origin.url}{STUCK}"]
        async with service(*options) as server:
            port = server.port
            batch, sent = await post(server, urls, READ)
        server = await again(port, *options)
        await ended(server, batch)
        got = await events(server, batch)
        *before, last = got
        assert got[: len(sent)] == sent
        assert sorted(event["index"] for event in before) == list(range(len(urls)))
        assert (last["event"], last["ok"] + last["failed"]) == ("done", len(urls))
        failed = [event for event in before if event["event"] == "failed"]
        assert {event["error"] for event in failed} == {"cancelled"}
        assert last["failed"] == len(failed)
        await server.kill()
        server = await again(port, *options)
        assert await events(server, batch) == got, "and it stays so"
        await server.stop()


async def ended(server: Process, batch: str) -> None:
    """Wait until a batch is done, as somebody who does not read it."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(server.url) as session:
        while True:
            async with session.get(f"/batches/{batch}") as answer:
                if (await answer.json())["state"] == "done":
                    return
            await asyncio.sleep(0.05)
