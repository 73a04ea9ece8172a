"""``sluice job``, as its user runs it, against the real service."""

import asyncio
import os
import shlex
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.commands.job import add_options
from tests.end_to_end.processes import run, service, start

MODULE = """
from service.jobs import job


@job(retries=0)
def double(number, context):
    context.progress(1, 2, "half")
    return 2 * number


@job(retries=0)
def fail():
    raise ValueError("no such video")
"""


async def sluice_job(url: str, *arguments: str, **env: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and errors."""
    return await run(sys.executable, "-m", "service", "job", *arguments, env={"SLUICE_URL": url, **env})


async def test_jobs_are_submitted_followed_listed_shown_and_cancelled(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(MODULE)
    async with service("--jobs", "functions", env={"PYTHONPATH": str(tmp_path)}) as server:
        code, out, err = await sluice_job(server.url, "submit", "--follow", "run", "double", '{"number": 21}')
        assert (code, [line.split()[0] for line in out.splitlines()]) == (
            0,
            ["queued", "started", "progress", "done"],
        )
        assert out.splitlines()[-1] == "done result=42"
        done = err.strip()
        code, out, _ = await sluice_job(server.url, "submit", "run", "fail", "--follow")
        assert (code, out.splitlines()[-1].split()[0]) == (1, "failed")
        assert "no such video" in out

        code, out, _ = await sluice_job(
            server.url, "submit", "--json", "--delay", "600", "--key", "k", "publish", "t", '{"a": 1}'
        )
        waiting = orjson.loads(out)["job"]
        assert orjson.loads(out)["due"] > "2026"
        code, out, _ = await sluice_job(server.url, "list", "--state", "scheduled")
        assert (code, [line.split()[:3] for line in out.splitlines()]) == (0, [[waiting, "scheduled", "publish"]])
        code, out, _ = await sluice_job(server.url, "show", done)
        assert "output" in out
        assert "42" in out
        assert (await sluice_job(server.url, "cancel", waiting))[:2] == (0, "cancelled; it is cancelled\n")
        assert (await sluice_job(server.url, "cancel", waiting))[:2] == (1, "it had ended; it is cancelled\n")
        code, out, _ = await sluice_job(server.url, "follow", waiting)
        assert (code, out.splitlines()[-1]) == (3, "cancelled")


def answer(status: str, *events: dict[str, Any], cut: bool = False) -> bytes:
    """Return an answer with these events, which is complete unless it is cut."""
    body = b"".join(orjson.dumps(event) + b"\n" for event in events)
    head = f"HTTP/1.1 {status}\r\nSluice-Epoch: e\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return head.encode() + piece + (b"5\r\n{" if cut else b"0\r\n\r\n")


QUEUED = {"event": "queued", "due": "T"}
PROGRESS = {"event": "progress", "done": 1}
CUTS = [
    (answer("200 OK", QUEUED, {"event": "started", "attempt": 1, "worker": "w"}, cut=True), ""),
    (answer("503 Service Unavailable"), "?since=e:2"),
    (answer("200 OK", {"event": "heartbeat"}, PROGRESS), "?since=e:2"),  # the service goes away
    (answer("200 OK", {"event": "gap", "from": 4, "to": 5}, {"event": "done", "result": 1}), "?since=e:3"),
]


async def test_following_goes_on_after_cuts_and_restarts() -> None:
    answers, asked = iter(CUTS), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        writer.write(next(answers)[0])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code, out, err = await sluice_job(f"http://127.0.0.1:{port}", "follow", "1-a")
    assert (code, err) == (0, "sluice job: the service has gone; waiting for it to come back\n")
    assert [line.split()[0] for line in out.splitlines()] == ["queued", "started", "progress", "gap", "done"]
    assert asked == [f"/jobs/1-a/events{since}" for _, since in CUTS]


async def test_nobody_reads_what_it_prints() -> None:
    async with service() as server:
        await sluice_job(server.url, "submit", "--delay", "600", "publish", "t", "1")
        job = f"{shlex.quote(sys.executable)} -m service job list"
        for sink, expected in (("| exec true", (141, "")), ("> /dev/full", (1, "No space left on device"))):
            # The reader has gone before the command writes: it ends at once, and the command starts slowly.
            script = f"set -o pipefail; {job} {sink}"
            code, _, err = await run("bash", "-c", script, env={"SLUICE_URL": server.url})
            assert code == expected[0], err
            assert expected[1] in err
            assert "is the service there" not in err


async def test_it_says_how_to_go_on_when_it_is_interrupted() -> None:
    async with service() as server:
        submit = ("submit", "--follow", "--delay", "600", "publish", "t", "1")
        child = await start(sys.executable, "-m", "service", "job", *submit, env={"SLUICE_URL": server.url})
        assert (await child.line()).startswith("queued")
        child.process.send_signal(signal.SIGINT)
        assert await child.ended() == 130
        await child.close()
        job, said = child.errors.decode().splitlines()
        assert said == f"sluice job: interrupted; the job goes on: sluice job follow {job}"


UNREADABLE = [
    (("submit", "--delay", "nan", "publish", "t", "1"), "'nan' is not a number of seconds"),
    (("submit", "--keep", "inf", "publish", "t", "1"), "'inf' is not a number of seconds"),
    (("list", "--limit", "0"), "'0' is not a number from 1 on"),
]


def test_numbers_that_are_none_are_refused_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    add_options(parser)
    for arguments, error in UNREADABLE:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        assert ended.value.code == 2
        assert error in capsys.readouterr().err


WRONG = [
    (("follow", "a\udcff"), 2, "'a\\udcff' is not the id of a job"),
    (("show", ""), 2, "'' is not the id of a job"),
    (("show", "nonsense"), 1, "the job does not exist or has expired (404)"),
    (("submit", "publish", "_stats", "1"), 1, "is written by the service alone (403)"),
    (("submit", "publish", "t", "hello"), 2, "'hello' is not JSON"),
    (("submit", "call", "http://a.example", "-H", "nonsense"), 2, "'nonsense' is not NAME: VALUE"),
    (("list", "--url", "localhost:80"), 2, "does not begin with http:// or https://"),
    (("list", "--url", "http://[::1"), 2, "does not begin with http:// or https:// and a host"),
    (("submit", "--at", "tomorrow", "publish", "t", "1"), 1, "at: a time as RFC 3339 has it"),
]


async def test_what_is_wrong_is_said_in_one_line() -> None:
    async with service() as server:
        for arguments, code, error in WRONG:
            found, out, err = await sluice_job(server.url, *arguments)
            assert (found, out, err.count("\n")) == (code, "", 1), err
            assert error in err


async def test_a_service_that_is_not_there_is_named() -> None:
    code, _, err = await sluice_job("http://127.0.0.1:9", "list")
    assert code == 1
    assert "http://127.0.0.1:9" in err
    assert "--url or SLUICE_URL" in err
    assert os.sep + "urllib" not in err
