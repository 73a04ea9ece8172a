"""``sluice count``, as its user runs it: files of all kinds, standard input, and how it ends."""

import asyncio
import gzip
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.work.file_counts.files import PART
from tests.end_to_end.processes import PATIENCE, ROOT, Process, run, start
from tests.procfs import children
from tests.work.file_counts.frames import zstd_frame

SLUICE = (sys.executable, "-m", "service", "count")


def log(lines: int, seed: int) -> bytes:
    chance = random.Random(seed)
    return b"".join(
        b"10.0.0.%d GET /%09d HTTP/1.1\n" % (int(250 ** chance.random()), number) for number in range(lines)
    )


def top(data: bytes, most: int) -> list[dict[str, Any]]:
    counts = Counter(line.split()[0].decode() for line in data.splitlines())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"key": key, "count": count} for key, count in ranked[:most]]


async def test_files_of_all_kinds_are_counted_and_what_cannot_be_read_is_reported(tmp_path: Path) -> None:
    # The first is larger than a part, so that two processes share it.
    first, second, third = log(500_000, 1), log(3000, 2), log(2000, 3)
    assert len(first) > PART
    (tmp_path / "plain").write_bytes(first[:-1])
    (tmp_path / "members").write_bytes(gzip.compress(second) + gzip.compress(second))
    (tmp_path / "frames").write_bytes(zstd_frame(third) + zstd_frame(third))
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbf" + third.replace(b"\n", b"\r\n"))
    (tmp_path / "cut").write_bytes(gzip.compress(b"10.0.0.1 x\n" * 9 + b"10.0.0.25")[:-8])
    names = ["plain", "n\udcff\n", "members", "frames", "windows", "cut", "."]
    code, out, err = await run(
        *SLUICE, *names, "--field", "1", "--json", "--top", "300", "--processes", "2",
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    everything = first + 2 * second + 3 * third + b"10.0.0.1 x\n" * 9
    result = orjson.loads(out)
    assert result["top"] == top(everything, 300)
    assert (result["lines"], result["skipped"]) == (everything.count(b"\n"), 0)
    assert (result["keys"], result["exact"], result["error_bound"]) == (len(result["top"]), True, 0)
    assert (result["missed"], code) == (3, 1)
    assert sorted(err.splitlines()) == [
        "sluice: .: Is a directory",
        "sluice: cut: is cut off: the end of its compressed data is missing",
        r"sluice: n\xff\x0a: No such file or directory",
    ]


async def test_the_result_is_for_people_without_json(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a x\nb\nb \xff\xc3\xa4\x1b\n" + b"c " * 3)
    code, out, err = await run(*SLUICE, str(tmp_path / "file"), "--field", "2")
    assert (code, out, err) == (0, "1  \\xffä\\x1b\n1  c\n1  x\n", "4 lines (1 without a key), 3 distinct keys\n")


async def _child(*arguments: str, **more: Any) -> Process:
    return await start(*SLUICE, *arguments, stdin=asyncio.subprocess.PIPE, **more)


async def _output(child: Process, data: bytes) -> tuple[bytes, bytes]:
    async with asyncio.timeout(PATIENCE):
        return await child.process.communicate(data)


async def test_standard_input_is_counted_to_its_end() -> None:
    for data in (b"a\nb\na", gzip.compress(b"a\nb\na")):
        child = await _child("--field", "1", "--json")
        out, err = await _output(child, data)
        assert orjson.loads(out)["top"] == [{"key": "a", "count": 2}, {"key": "b", "count": 1}]
        assert err == b""


async def test_a_reader_that_has_gone_ends_it_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    child = await _child("-", "--field", "1", stdout=writing)
    os.close(writing)
    _, err = await _output(child, b"a\n")
    assert (child.process.returncode, err) == (141, b"")


async def _working(child: Process) -> list[int]:
    """Return its processes, once it has some."""
    async with asyncio.timeout(PATIENCE):
        while not (found := children(child.process.pid)):
            await asyncio.sleep(0.02)  # nothing is written that one could wait for
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_all_processes(number: signal.Signals) -> None:
    child = await _child("-", "--field", "1")
    found = await _working(child)
    child.process.send_signal(number)
    out, err = await asyncio.wait_for(_all_of(child), PATIENCE)
    assert (child.process.returncode, out, err) == (130, b"", b"sluice: interrupted\n")
    # One that was just being started is not ended by the command: it ends because the command has.
    async with asyncio.timeout(PATIENCE):
        while any(Path(f"/proc/{pid}").exists() for pid in found):
            await asyncio.sleep(0.02)  # a process that is not our child has nothing to wait on


async def _all_of(child: Process) -> tuple[bytes, bytes]:
    """Return what it writes, without closing its standard input."""
    assert child.process.stdout is not None
    assert child.process.stderr is not None
    out, err = await asyncio.gather(child.process.stdout.read(), child.process.stderr.read())
    await child.process.wait()
    return out, err


async def test_a_process_that_is_killed_while_it_reads_a_pipe_fails_the_run_and_says_so() -> None:
    child = await _child("-", "--field", "1")
    (pid,) = await _working(child)
    os.kill(pid, signal.SIGKILL)
    out, err = await asyncio.wait_for(_all_of(child), PATIENCE)
    assert (child.process.returncode, out) == (1, b"")
    assert err == (
        b"sluice: a counting process was ended by SIGKILL at standard input (is there too little memory?); "
        b"a pipe cannot be read again, so nothing is counted\n"
    )
