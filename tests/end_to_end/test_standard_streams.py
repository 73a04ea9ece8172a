"""Standard streams that are closed, full or broken: programs start, serve and end all the same."""

import asyncio
import os
import signal
import sys

import pytest

from tests.end_to_end.processes import PATIENCE, Process, free_port, start

SERVICE = ("service", "serve")
ORIGIN = ("loadtest", "origin")
BROKEN = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"]


async def shell(redirections: str, *command: str) -> Process:
    """Start a program of ours with standard streams like these."""
    return await start("sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", *command)


async def answers(port: int) -> bytes:
    """Return the status line of the program that is starting there."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)  # another process has nothing to wait on where its streams are broken
            continue
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line


@pytest.mark.parametrize("program", [SERVICE, ORIGIN], ids=["service", "origin"])
@pytest.mark.parametrize("redirections", BROKEN)
async def test_a_program_serves_with_any_standard_streams(program: tuple[str, str], redirections: str) -> None:
    port = free_port()
    child = await shell(redirections, *program, "--port", str(port))
    try:
        async with asyncio.timeout(60):
            assert (await answers(port)).startswith(b"HTTP/1.1 ")
    finally:
        child.process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(child.process.communicate(), 60)
    assert child.process.returncode == 0
    assert b"Traceback" not in err
    assert b"Assertion" not in err


async def test_a_program_serves_though_its_reader_has_gone() -> None:
    port = free_port()
    reading, writing = os.pipe()
    os.close(reading)
    child = await start(sys.executable, "-m", *SERVICE, "--port", str(port), stdout=writing, stderr=writing)
    os.close(writing)
    async with asyncio.timeout(PATIENCE):
        assert b"200" in await answers(port)
    assert await child.stop() == 0


@pytest.mark.parametrize(
    ("command", "redirections", "code", "reported"),
    [
        ("service serve --print-config", ">/dev/full", 1, "sluice: cannot write to standard output: No space left on device\n"),
        ("service serve --print-config", ">/dev/full 2>/dev/full", 1, ""),
        ("service serve --print-config", ">&-", 0, ""),
        ("service --version", ">/dev/full", 1, "sluice: cannot write to standard output: No space left on device\n"),
        ("service serve --port x", "2>/dev/full", 2, ""),
        ("loadtest --help", ">/dev/full", 1, "loadtest: cannot write to standard output: No space left on device\n"),
        ("loadtest origin --host 192.0.2.1", "<&- 2>&-", 1, ""),
    ],
)  # fmt: skip
async def test_output_that_cannot_be_written_ends_with_one_line(
    command: str, redirections: str, code: int, reported: str
) -> None:
    child = await shell(redirections, *command.split())
    _, err = await asyncio.wait_for(child.process.communicate(), 60)
    assert (child.process.returncode, err.decode()) == (code, reported)


async def test_a_reader_that_leaves_ends_it_in_silence() -> None:
    child = await start(
        "bash", "-c", 'set -o pipefail; "$@" | true', "bash", sys.executable, "-m", "service", "--version"
    )
    _, err = await asyncio.wait_for(child.process.communicate(), 60)
    assert (child.process.returncode, err) == (141, b"")
