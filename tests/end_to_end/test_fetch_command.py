"""``sluice fetch`` as its user runs it: lists, lines, files, exit codes, and runs that were cut."""

import asyncio
import os
import pty
import resource
import shlex
import signal
import struct
import sys
import termios
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fcntl import ioctl
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.processes import origin, run, start

Answer = Callable[[bytes], bytes]


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Server:
    """Answers each request with what ``answers`` makes of its target, and keeps the targets."""

    def __init__(self, answers: Answer) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                self.asked.append(target)
                writer.write(self.answers(target))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answers: Answer = lambda target: answer(b"body of " + target, b"Content-Type: text/html"),
) -> AsyncIterator[Server]:
    server = Server(answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


def command(upstream: Any, *more: str) -> list[str]:
    ports = ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))
    return [sys.executable, "-m", "service", "fetch", *ports, *more]


def shell(upstream: Any, line: str, *more: str) -> list[str]:
    """Return a command of the shell: FETCH stands for ``sluice fetch`` with these options."""
    return ["bash", "-c", line.replace("FETCH", shlex.join(command(upstream, *more)))]


def lines(text: str) -> list[Any]:
    return [orjson.loads(line) for line in text.splitlines()]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def body(size: int) -> bytes:
    return (b"sluice " * (size // 7 + 1))[:size]


async def test_a_line_for_each_url_and_the_counts_last(tmp_path: Path) -> None:
    async with origin() as upstream:
        (tmp_path / "urls").write_text(f"# mine\n{upstream.url}/bytes/5\n\n{upstream.url}/status/404\n")
        code, out, err = await run(*command(upstream, f"{upstream.url}/bytes/7", "-i", str(tmp_path / "urls")))
        *events, done = lines(out)
        assert code == 1  # a 404 is a result, and not what was wanted
        assert sorted((event["index"], event["status"]) for event in events) == [(0, 200), (1, 200), (2, 404)]
        counts = {
            "total": 3,
            "ok": 3,
            "failed": 0,
            "skipped": 0,
            "errors_4xx": 1,
            "by_status": {"200": 2, "404": 1},
        }
        assert done == {**done, "event": "done", **counts}
        assert "2 fetched, 1 HTTP errors, 0 failed" in err
        assert "1  404 Not Found" in err
        code, out, err = await run(*command(upstream, "-q", f"{upstream.url}/bytes/7"))
        assert (code, err) == (0, "")


async def test_a_list_as_people_make_them_asks_for_what_it_has(tmp_path: Path) -> None:
    async with serving() as server:
        url = server.url.encode()
        made = [
            b"\xef\xbb\xbf" + url + b"/first\r", b"", b"  # indented", b"\t" + url + b"/a#part ", url + b"/caf\xe9",
            b"http://no host/", url + b"/sig?a=b%2Fc%3D", b"\xef\xbb\xbf" + url + b"/joined", b"ftp://h.example/",
        ]  # fmt: skip
        (tmp_path / "urls").write_bytes(b"\n".join(made))
        code, out, err = await run(*command(server, "-i", str(tmp_path / "urls")))
        *events, _ = lines(out)
        assert sorted(server.asked) == [b"/a", b"/caf%E9", b"/first", b"/joined", b"/sig?a=b%2Fc%3D"]
        wrong = {event["line"]: event["error"] for event in events if event["event"] == "failed"}
        assert wrong == {6: "invalid_url", 9: "invalid_url"}
        assert f"{tmp_path}/urls:6: http://no host/" in err
        assert code == 1


async def test_utf_16_and_standard_input() -> None:
    async with serving() as server:
        child = await start(*command(server, "-q", "-i", "-"), stdin=asyncio.subprocess.PIPE)
        text = f"{server.url}/ä\r\n{server.url}/b\r\n"
        out, err = await asyncio.wait_for(child.process.communicate(text.encode("utf-16")), 60)
        assert (child.process.returncode, err) == (0, b"")
        assert sorted(server.asked) == [b"/%C3%A4", b"/b"]
        assert len(out.splitlines()) == 3


async def test_what_is_listed_five_times_is_fetched_once_and_reported_for_each(tmp_path: Path) -> None:
    async with serving() as server:
        urls = [f"{server.url}/{number}" for number in range(100)] * 5
        (tmp_path / "urls").write_text("\n".join(urls))
        code, out, _ = await run(*command(server, "-i", str(tmp_path / "urls"), "-o", str(tmp_path / "out")))
        *events, done = lines(out)
        assert code == 0
        assert len(server.asked) == len(set(server.asked)) == 100
        assert sorted(event["index"] for event in events) == list(range(500))
        for event in events:
            assert event["event"] == "result"
            assert event["url"] == urls[event["index"]]
            assert (tmp_path / "out" / event["file"]).read_bytes().decode() in event["url"].replace(
                server.url, "body of "
            )
        assert (done["total"], done["ok"]) == (500, 500)
        assert len(files(tmp_path / "out")) == 101
        code, out, _ = await run(*command(server, "-i", str(tmp_path / "urls"), "-o", str(tmp_path / "out")))
        *events, done = lines(out)
        assert Counter(event["event"] for event in events) == {"skipped": 500}
        assert len(server.asked) == 100


async def test_wrong_usage_is_one_line_and_2(tmp_path: Path) -> None:
    async with serving() as server:
        code, out, err = await run(*command(server, "-i", str(tmp_path / "none")))
        assert (code, out, err) == (2, "", f"sluice: --input: {tmp_path / 'none'}: No such file or directory\n")


async def test_what_makes_the_exit_code_1_can_be_said() -> None:
    async with serving(lambda target: answer(b"x", status=target[1:] + b" X")) as server:
        for fail_on, code in (("none", 0), ("5xx,404", 1)):
            assert (await run(*command(server, "--fail-on", fail_on, f"{server.url}/404")))[0] == code


async def test_files_are_whole_by_their_hash_and_the_next_run_fetches_what_is_missing(tmp_path: Path) -> None:
    async with origin() as upstream:
        urls = [f"{upstream.url}/bytes/{size}" for size in range(1, 301)]
        (tmp_path / "urls").write_text("\n".join(urls))
        arguments = command(upstream, "-i", str(tmp_path / "urls"), "-o", str(tmp_path / "out"))
        code, out, _ = await run(*arguments)
        assert code == 0
        *events, _ = lines(out)
        named = {event["index"]: tmp_path / "out" / event["file"] for event in events}
        for size in range(1, 301):
            assert sha256(named[size - 1].read_bytes()).digest() == sha256(body(size)).digest()
        named[7].unlink()
        named[9].write_bytes(b"cut")
        named[11].write_bytes(b"X" * 12)
        for verify, again in (([], [7, 9]), (["--verify"], [11])):
            code, out, _ = await run(*arguments, *verify)
            *events, done = lines(out)
            assert (code, done["total"], done["ok"], done["skipped"]) == (0, 300, len(again), 300 - len(again))
            results = {event["index"]: event for event in events if event["event"] == "result"}
            assert sorted(results) == again
            for index, event in results.items():
                assert tmp_path / "out" / event["file"] == named[index]
                assert event["body"] is None
                assert named[index].read_bytes() == body(index + 1)


async def test_after_kill_9_nothing_is_half_written_and_the_next_run_ends_it(tmp_path: Path) -> None:
    async with origin() as upstream:
        size, out = 300_000, tmp_path / "out"
        urls = [f"{upstream.url}/bytes/{size}?{number}" for number in range(400)]
        (tmp_path / "urls").write_text("\n".join(urls))
        arguments = command(upstream, "-i", str(tmp_path / "urls"), "-o", str(out))
        for after in (1, 50):
            child = await start(*arguments)
            for _ in range(after):
                await child.line()
            child.process.send_signal(signal.SIGKILL)
            await child.ended()
            whole = [path for path in files(out) if not path.startswith((".", "index"))]
            assert len(whole) >= after
            assert {(out / path).read_bytes() for path in whole} == {body(size)}
        code, text, _ = await run(*arguments)
        *events, done = lines(text)
        assert code == 0
        assert done["skipped"] >= 50
        assert files(out) == {"index.ndjson", *(event["file"] for event in events)}
        assert len(files(out)) == 401
        assert {orjson.loads(line)["url"] for line in (out / "index.ndjson").read_bytes().splitlines()} == set(urls)


async def test_an_interrupt_ends_it_soon_and_says_what_is_left(tmp_path: Path) -> None:
    async with origin() as upstream:
        urls = [f"{upstream.url}/bytes/1", *(f"{upstream.url}/slow/60000?{number}" for number in range(50))]
        child = await start(*command(upstream, "--timeout", "100", "-o", str(tmp_path), *urls))
        await child.line()
        child.process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(child.process.communicate(), 60)
        assert child.process.returncode == 130
        assert b"50 not done" in err
        assert b"Run the same command again" in err
        assert b"Traceback" not in err
        assert b"done" not in out


async def test_an_interrupt_ends_a_run_whose_reader_takes_nothing(tmp_path: Path) -> None:
    everything = asyncio.Event()

    def answers(target: bytes) -> bytes:
        if len(server.asked) == 500:
            everything.set()
        return answer(b"x" * 2000)

    async with serving(answers) as server:
        (tmp_path / "urls").write_text("\n".join(f"{server.url}/{number}" for number in range(500)))
        read, write = os.pipe()
        child = (await start(*command(server, "-i", str(tmp_path / "urls")), stdout=write)).process
        os.close(write)
        try:
            await asyncio.wait_for(everything.wait(), 60)
            # The first one may come while the loop still runs: the second one always ends it.
            for _ in range(2):
                if child.returncode is None:
                    child.send_signal(signal.SIGINT)
                    await asyncio.wait([asyncio.ensure_future(child.wait())], timeout=1)
            assert child.returncode == 130
        finally:
            os.close(read)
        assert child.stderr is not None
        assert b"Traceback" not in await child.stderr.read()


async def test_what_is_too_large_to_save_makes_no_file(tmp_path: Path) -> None:
    async with origin() as upstream:
        url = f"{upstream.url}/bytes/1000"
        code, out, _ = await run(*command(upstream, "-o", str(tmp_path), "--max-bytes", "999", url))
        assert code == 1
        assert lines(out)[0]["error"] == "too_large"
        assert files(tmp_path) == {"index.ndjson"}


async def test_what_cannot_be_saved_fails_alone(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    async with serving(lambda target: answer(b"x" * (200_000 if b"large" in target else 10))) as server:
        (out / f"127.0.0.1+{server.port}").mkdir()
        (out / f"127.0.0.1+{server.port}" / "linked").symlink_to(victim)
        urls = [f"{server.url}/{path}" for path in ("small", "large", "linked/x", "other")]
        child = await start(*command(server, "-o", str(out), *urls))
        resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        text, _ = await asyncio.wait_for(child.process.communicate(), 60)
        *events, done = lines(text.decode())
        assert child.process.returncode == 1
        failed = {
            event["index"]: (event["error"], event["detail"]) for event in events if event["event"] == "failed"
        }
        assert failed.keys() == {1, 2}
        assert failed[1] == ("unavailable", "cannot save: File too large")
        assert failed[2][0] == "unavailable"
        assert "symbolic link" in failed[2][1]
        assert (done["ok"], list(victim.iterdir())) == (2, [])
        assert len(files(out)) == 3


async def test_a_header_that_is_not_utf_8_stops_nobody() -> None:
    def answers(target: bytes) -> bytes:
        return answer(b"ok", b"X-Name: r\xe9n") if target == b"/latin" else answer(b"ok")

    async with serving(answers) as server:
        urls = [f"{server.url}/{path}" for path in ("a", "latin", "b", "c")]
        _, out, _ = await run(*command(server, *urls), within=60)
        *events, done = lines(out)
        assert sorted((event["index"], event["event"]) for event in events) == [(n, "result") for n in range(4)]
        assert done["ok"] == 4


@pytest.mark.parametrize(
    ("line", "code", "out_lines", "err"),
    [
        ("FETCH | head -1; exit ${PIPESTATUS[0]}", 141, 1, ""),
        (
            "FETCH >/dev/full",
            1,
            0,
            "sluice: cannot write to standard output: No space left on device\n",
        ),
        ("FETCH -q 2>/dev/full", 0, 201, ""),
        ("FETCH 2>/dev/full", 0, 201, ""),
        ("FETCH -q >&-", 0, 0, ""),
        ("FETCH 2>&-", 0, 201, ""),
        ("FETCH -q <&-", 0, 201, ""),
        ("FETCH <&- >&- 2>&-", 0, 0, ""),
    ],
)
async def test_standard_streams_that_are_closed_full_or_left(
    tmp_path: Path, line: str, code: int, out_lines: int, err: str
) -> None:
    async with serving(lambda target: answer(b"x" * 1000)) as server:
        (tmp_path / "urls").write_text("\n".join(f"{server.url}/{number}" for number in range(200)))
        reported = await run(*shell(server, line, "-i", str(tmp_path / "urls")))
        assert (reported[0], reported[1].count("\n"), reported[2]) == (code, out_lines, err)


async def test_closed_standard_input_without_urls_is_an_empty_list() -> None:
    async with serving() as server:
        code, out, _ = await run(*shell(server, "FETCH <&-"))
        assert (code, lines(out)[0]["total"]) == (0, 0)


async def on_terminal(argv: list[str], columns: int) -> tuple[int, str]:
    """Run a command on a terminal of this many columns, and return its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = await start(*argv, env={"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65_536):
                shown.append(data)
        except OSError:  # Linux says so where the other end is closed
            pass

    await asyncio.wait_for(asyncio.to_thread(read), 60)
    os.close(ours)
    return await child.ended(), b"".join(shown).decode()


async def test_a_terminal_shows_a_bar_and_a_summary() -> None:
    columns = 80
    async with origin() as upstream:
        urls = [f"{upstream.url}/slow/500?{number}" for number in range(20)] + [f"{upstream.url}/status/404"]
        code, shown = await on_terminal(command(upstream, *urls), columns)
        assert code == 1
        assert "{" not in shown
        bars = [part.split("\x1b[K")[0] for part in shown.split("\r") if "/21 " in part]
        assert len(bars) >= 2
        assert max(map(len, bars)) < columns
        summary = shown.split("\x1b[K")[-1].replace("\r\n", "\n")
        assert "20  200 OK\n" in summary
        assert f"1  404 Not Found\n             {upstream.url}/status/404\n" in summary
        assert "20 fetched, 1 HTTP errors, 0 failed" in summary
        assert "use --output DIR to save them" in summary


async def test_a_terminal_gets_lines_when_asked_and_then_no_bar() -> None:
    async with serving() as server:
        code, shown = await on_terminal(command(server, "--json", f"{server.url}/a"), 80)
        assert code == 0
        assert "\x1b" not in shown
        assert [
            event["event"] for event in lines("\n".join(line for line in shown.split("\r\n") if line[:1] == "{"))
        ] == ["result", "done"]
        code, shown = await on_terminal(command(server, "-q", f"{server.url}/a"), 80)
        assert (code, shown) == (0, "")


async def test_steps_are_carried_out_on_each_body_and_one_that_fails_costs_its_own_url(tmp_path: Path) -> None:
    pages = {
        b"/log": answer(b"a 1\nb 1\na 2\n", b"Content-Type: text/plain"),
        b"/broken": answer(b"\x89PNG", b"Content-Type: image/png"),
        b"/none": answer(b"gone", b"Content-Type: text/plain", status=b"404 Not Found"),
    }
    async with serving(pages.__getitem__) as server:
        urls = [server.url + path for path in ("/log", "/broken", "/none")]
        steps = '[{"step":"digest"},{"step":"text"},{"step":"count","field":1,"top":1}]'
        code, out, _ = await run(*command(server, "--steps", steps, "-o", str(tmp_path), *urls))
        *found, done = lines(out)
        first, second, third = sorted(found, key=lambda line: line["index"])
        assert code == 1
        assert [one["step"] for one in first["steps"]] == ["digest", "text", "count"]
        assert (tmp_path / first["file"]).read_bytes() == b"a 1\nb 1\na 2\n"
        assert (second["error"], second["step"], len(second["steps"])) == ("step_failed", "text", 1)
        assert (third["status"], "steps" in third) == (404, False)
        assert done["counts"]["top"] == [{"key": "a", "count": 2}]
        assert (done["counts"]["lines"], done["failed"]) == (3, 1)
        code, out, _ = await run(*command(server, "--steps", '[{"step":"digest"}]', "--max-bytes", "2", urls[0]))
        assert lines(out)[0]["error"] == "too_large"
        code, out, _ = await run(*command(server, "--steps", '[{"step":"digest"}]', "--body", "text", urls[0]))
        assert (code, lines(out)[0]["body"], len(lines(out)[0]["steps"])) == (0, "a 1\nb 1\na 2\n", 1)
