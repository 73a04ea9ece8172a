"""Backups of a running service: whole, at one moment, and a service goes on from them where they end."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.processes import ROOT, run, service, start
from tests.end_to_end.test_data import Publisher
from tests.storage.stored import add_messages, add_topic, new_database

WRITERS = 4


async def sluice(*arguments: object) -> tuple[int, str, str]:
    """Run a command to its end."""
    return await run(sys.executable, "-m", "service", *map(str, arguments))


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[Publisher]:
    """Publish until the block ends; each message is acknowledged then."""
    publisher = Publisher(url)
    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(publisher.run())
        try:
            yield publisher
        finally:
            publisher.stop = True


async def events(session: aiohttp.ClientSession, since: str) -> list[dict[str, Any]]:
    """Return what a reader gets of the topic up to its newest message."""
    async with session.get("/topics/t") as answer:
        newest = (await answer.json())["offset"]
    lines: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(30),
        session.get(
            "/topics/t/events", params={"since": since}, headers={"Accept": "application/x-ndjson"}
        ) as answer,
    ):
        async for line in answer.content:
            lines.append(json.loads(line))
            if lines[-1].get("offset") == newest and "data" in lines[-1]:
                break
    return lines


def by_number(lines: list[dict[str, Any]]) -> dict[int, int]:
    """Return the offset of each number that was published, once."""
    found = {line["data"]["n"]: line["offset"] for line in lines if "data" in line}
    assert len(found) == sum("data" in line for line in lines), "no number twice"
    return found


async def test_a_backup_of_a_running_service_has_all_that_was_acknowledged_before_it(tmp_path: Path) -> None:
    data, file, new = tmp_path / "data", tmp_path / "backup.db", tmp_path / "new"
    ring = ("--ring-messages", "100000", "--ring-size", "67108864")
    async with service("--data", str(data), *ring) as server:
        async with publishing(server.url) as publisher:
            await publisher.more(200)
            before = dict(publisher.acknowledged)
            code, out, _ = await sluice("check", "--data", data)
            assert code == 0, out
            code, _, err = await sluice("backup", "--data", data, file)
            assert (code, err) == (0, "")
            await publisher.more(50)
        after = publisher.acknowledged
        await server.kill()
    code, out, _ = await sluice("check", "--json", file)
    found = json.loads(out)
    assert (code, found["ok"], found["damaged"]) == (0, True, 0)
    assert len(before) <= found["messages"] <= len(after)
    assert (await sluice("restore", "--data", new, file))[0] == 0
    (epoch,) = {epoch for epoch, _ in after.values()}
    async with service("--data", str(new), *ring) as server, aiohttp.ClientSession(server.url) as session:
        whole = await events(session, "oldest")
        kept = by_number(whole)
        assert (whole[0]["event"], whole[0]["epoch"]) == ("start", epoch)
        assert before.keys() <= kept.keys()
        assert kept.items() <= {number: offset for number, (_, offset) in after.items()}.items()
        assert sorted(kept.values()) == list(range(1, found["messages"] + 1)), "up to one moment, without a hole"
        # A client goes on with the position that it had.
        part = await events(session, f"{epoch}:100")
        assert (part[0]["event"], part[0]["recovered"]) == ("start", True)
        assert [line["offset"] for line in part[1:]] == list(range(101, found["messages"] + 1))
        async with session.post("/topics/t", json={"n": -1}) as answer:
            assert (await answer.json())["offset"] == found["messages"] + 1
        exported = await sluice("export", "--data", new, "--topic", "t")
        assert exported[0] == 0
        assert by_number([json.loads(line) for line in exported[1].splitlines()]) == {
            **kept,
            -1: found["messages"] + 1,
        }


async def test_with_new_epochs_no_position_that_was_lost_is_given_away_again(tmp_path: Path) -> None:
    data, file, new = tmp_path / "data", tmp_path / "backup.db", tmp_path / "new"
    async with service("--data", str(data)) as server:
        async with publishing(server.url) as publisher:
            await publisher.more(20)
        assert (await sluice("backup", "--data", data, file))[0] == 0
        async with publishing(server.url) as later:
            later.numbers = iter(range(1000, 2000))
            await later.more(20)
        await server.stop()
    position = "{}:{}".format(*max(later.acknowledged.values()))
    code, out, _ = await sluice("restore", "--new-epochs", "--data", new, file)
    assert code == 0
    assert "every topic begins a new epoch" in out
    async with service("--data", str(new)) as server, aiohttp.ClientSession(server.url) as session:
        lines = await events(session, position)
    assert lines[0]["recovered"] is False
    assert lines[0]["epoch"] != position.partition(":")[0]
    assert publisher.acknowledged.keys() == by_number(lines).keys(), "all that the backup has, from the oldest on"


async def test_a_backup_that_is_killed_leaves_no_file_under_its_name(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "backup.db"
    new_database(data).close()
    child = await start(sys.executable, "-c", STOPPED, str(data), str(file))
    assert await child.line() == "half\n"
    child.process.send_signal(signal.SIGKILL)
    await child.ended()
    await child.close()
    assert not file.exists()
    assert (await sluice("backup", "--data", data, file))[0] == 0
    assert (await sluice("check", file))[0] == 0


STOPPED = """
import sys, time
from service.command_line import run_command
from service.commands.data import command
def stop(self, done, total):
    print("half", flush=True)
    time.sleep(60)
command.ProgressLine.report = stop
run_command(["backup", "--data", *sys.argv[1:]])
"""


async def test_every_command_of_the_document_works_as_it_is_printed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "durability.md").read_text()
    commands = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    assert len(commands) > 8
    for folder in ("lib", "backups", "bin"):
        (tmp_path / folder).mkdir()
    database = new_database(tmp_path / "lib" / "sluice")
    add_topic(database, 1, "lobby")
    add_messages(database, 1, 1, 3)
    database.close()
    program = tmp_path / "bin" / "sluice"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m service "$@"\n')
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    for command in commands:
        moved = command.replace("/var/", f"{tmp_path}/").replace("> lobby", f"> {tmp_path}/lobby")
        code, out, err = await run("bash", "-c", moved, env=env)
        assert (code, err) == (0, ""), (command, out, err)
    lines = (tmp_path / "lobby.ndjson").read_text().splitlines()
    assert [json.loads(line)["offset"] for line in lines] == [1, 2, 3]
    assert out == f"{lines[0]}\n"
