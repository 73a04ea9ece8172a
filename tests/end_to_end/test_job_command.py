"""``sluice job``, as its user runs it, against the real service."""

import os
import sys
from pathlib import Path

import orjson

from tests.end_to_end.processes import run, service

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
        code, out, _ = await sluice_job(server.url, "submit", "--follow", "run", "fail")
        assert (code, out.splitlines()[-1].split()[0]) == (1, "failed")
        assert "no such video" in out

        code, out, _ = await sluice_job(
            server.url, "submit", "--json", "--delay", "600", "--key", "k", "publish", "t", '{"a": 1}'
        )
        waiting = orjson.loads(out)["job"]
        code, out, _ = await sluice_job(server.url, "list", "--state", "scheduled")
        assert (code, [line.split()[:3] for line in out.splitlines()]) == (0, [[waiting, "scheduled", "publish"]])
        code, out, _ = await sluice_job(server.url, "show", done)
        assert "output" in out
        assert "42" in out
        assert (await sluice_job(server.url, "cancel", waiting))[:2] == (0, "cancelled; it is cancelled\n")
        assert (await sluice_job(server.url, "cancel", waiting))[:2] == (1, "it had ended; it is cancelled\n")
        code, out, _ = await sluice_job(server.url, "follow", waiting)
        assert (code, out.splitlines()[-1]) == (3, "cancelled")


WRONG = [
    (("show", "nonsense"), 1, "the job does not exist or has expired (404)"),
    (("submit", "publish", "_stats", "1"), 1, "is written by the service alone (403)"),
    (("submit", "publish", "t", "hello"), 2, "'hello' is not JSON"),
    (("submit", "call", "http://a.example", "-H", "nonsense"), 2, "'nonsense' is not NAME: VALUE"),
    (("list", "--url", "localhost:80"), 2, "does not begin with http:// or https://"),
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
