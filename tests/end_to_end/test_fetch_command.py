"""``sluice fetch`` as its user runs it: lines, files, exit codes, and runs that were cut."""

import asyncio
import signal
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from service.saving import file_name
from tests.end_to_end.processes import Process, origin, run, start


def command(upstream: Process, *more: str) -> list[str]:
    ports = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
    return [sys.executable, "-m", "service", "fetch", *ports, *more]


def lines(text: str) -> list[Any]:
    return [orjson.loads(line) for line in text.splitlines()]


def body(size: int) -> bytes:
    return (b"sluice " * (size // 7 + 1))[:size]


async def test_a_line_for_each_url_and_the_counts_last(tmp_path: Path) -> None:
    async with origin() as upstream:
        (tmp_path / "urls").write_text(f"# mine\n{upstream.url}/bytes/5\n\n{upstream.url}/status/404\n")
        code, out, err = await run(*command(upstream, f"{upstream.url}/bytes/7", "-i", str(tmp_path / "urls")))
        *events, done = lines(out)
        assert code == 1  # a 404 is a result, and not what was wanted
        assert sorted((event["index"], event["status"]) for event in events) == [(0, 200), (1, 200), (2, 404)]
        assert done == {
            **done,
            "event": "done",
            "total": 3,
            "ok": 3,
            "failed": 0,
            "by_status": {"200": 2, "404": 1},
        }
        assert "3 fetched, 0 failed" in err
        code, out, err = await run(*command(upstream, "-q", f"{upstream.url}/bytes/7"))
        assert (code, err) == (0, "")


async def test_wrong_usage_is_one_line_and_2(tmp_path: Path) -> None:
    async with origin() as upstream:
        for more in (["-i", str(tmp_path / "none")], ["-H", "x", "http://h/"], ["--per-host", "0", "http://h/"]):
            code, out, err = await run(*command(upstream, *more))
            assert (code, out, err.count("\n")) == (2, "", 1), err
            assert err.startswith("sluice: ")


async def test_files_are_whole_by_their_hash_and_the_next_run_fetches_what_is_missing(tmp_path: Path) -> None:
    async with origin() as upstream:
        urls = [f"{upstream.url}/bytes/{size}" for size in range(1, 301)]
        (tmp_path / "urls").write_text("\n".join(urls))
        arguments = command(upstream, "-i", str(tmp_path / "urls"), "-o", str(tmp_path / "out"))
        assert (await run(*arguments))[0] == 0
        for size, url in enumerate(urls, 1):
            saved = (tmp_path / "out" / file_name(url)).read_bytes()
            assert sha256(saved).digest() == sha256(body(size)).digest()
        (tmp_path / "out" / file_name(urls[7])).unlink()
        code, out, _ = await run(*arguments)
        *events, done = lines(out)
        assert (code, done["total"], done["ok"], done["skipped"]) == (0, 300, 1, 299)
        [result] = [event for event in events if event["event"] == "result"]
        assert (result["index"], result["file"], result["body"]) == (7, file_name(urls[7]), None)


async def test_after_kill_9_nothing_is_half_written_and_the_next_run_ends_it(tmp_path: Path) -> None:
    async with origin() as upstream:
        size = 300_000
        urls = [f"{upstream.url}/bytes/{size}?{number}" for number in range(400)]
        (tmp_path / "urls").write_text("\n".join(urls))
        arguments = command(upstream, "-i", str(tmp_path / "urls"), "-o", str(tmp_path / "out"))
        for after in (1, 50):
            child = await start(*arguments)
            for _ in range(after):
                await child.line()
            child.process.send_signal(signal.SIGKILL)
            await child.ended()
            whole = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
            assert len(whole) >= after
            assert {path.read_bytes() for path in whole} == {body(size)}
        assert (await run(*arguments))[0] == 0
        assert {path.name for path in (tmp_path / "out").iterdir()} == {file_name(url) for url in urls}


async def test_an_interrupt_ends_it_soon_and_says_what_is_left(tmp_path: Path) -> None:
    async with origin() as upstream:
        urls = [f"{upstream.url}/bytes/1", *(f"{upstream.url}/slow/60000?{number}" for number in range(50))]
        child = await start(*command(upstream, "--timeout", "100", *urls))
        await child.line()
        child.process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(child.process.communicate(), 10)
        assert child.process.returncode == 130
        assert b"interrupted with 50 left" in err


async def test_what_is_too_large_to_save_is_no_file(tmp_path: Path) -> None:
    async with origin() as upstream:
        url = f"{upstream.url}/bytes/1000"
        code, out, _ = await run(*command(upstream, "-o", str(tmp_path), "--max-bytes", "999", url))
        assert code == 1
        assert lines(out)[0]["error"] == "too_large"
        assert list(tmp_path.iterdir()) == []
