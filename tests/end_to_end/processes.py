"""Real processes: the service and its neighbours, started on free ports and ended by their id."""

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


class Process:
    """A child process whose output is kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.terminate()
        return await self.ended()

    async def drained(self) -> None:
        """Read its pipes to their end: one that is open when the loop closes is an error of the next test."""
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(TimeoutError, RuntimeError):
                    await asyncio.wait_for(stream.read(), 2)

    async def ended(self, within: float = 20) -> int:
        try:
            return await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise


async def start(*argv: str, env: dict[str, str] | None = None, cwd: Path = ROOT, pipe: bool = False) -> Process:
    return Process(
        await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=asyncio.subprocess.PIPE if pipe else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )


async def run(*argv: str, env: dict[str, str] | None = None, within: float = 60) -> tuple[int, str, str]:
    """Run to the end and return (exit code, output, errors)."""
    child = await start(*argv, env=env)
    try:
        out, err = await asyncio.wait_for(child.process.communicate(), within)
    except TimeoutError:
        child.process.kill()
        await child.process.wait()
        raise
    assert child.process.returncode is not None
    return child.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def listening(*argv: str, env: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """Run a program that says where it listens, until the block ends."""
    child = await start(*argv, env=env)
    try:
        line = await child.line()
        if "listening on" not in line:
            _, err = await child.process.communicate()
            pytest.fail(f"{argv} did not start: {line} {err.decode()}")
        child.url = line.split("listening on")[1].strip()
        yield child
    finally:
        await child.stop()
        await child.drained()


def service(*options: str, env: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    """Run the service with these options."""
    return listening(sys.executable, "-m", "service", "serve", "--port", "0", *options, env=env)


def origin():  # type: ignore[no-untyped-def]
    """Run the simulated upstream."""
    return listening(sys.executable, "-m", "loadtest", "origin", "--port", "0")


def loadtest(*arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", "loadtest", *arguments)


def program(name: str, hint: str) -> str:
    """Return the path of a program, or skip the test with what would have to be installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed ({hint})")
    return path


@asynccontextmanager
async def nginx(location: str, main: str = "") -> AsyncIterator[int]:
    """Run Debian's nginx with these locations, and yield its port; FOLDER has a document of 1 KiB, ``page``."""
    binary = program("nginx", "Debian: nginx-light")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "page").write_text("x" * 1024)
        temp = "".join(
            f"{kind}_temp_path {folder}/t; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        port = free_port()
        server = f"server {{ listen 127.0.0.1:{port}; {location.replace('FOLDER', str(folder))} }}"
        (folder / "nginx.conf").write_text(
            f"{main} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 1024; }}\n"
            f"http {{ access_log off; default_type text/plain; {temp} {server} }}"
        )
        process = await start(binary, "-c", str(folder / "nginx.conf"))
        try:
            for _ in range(200):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.wait([asyncio.ensure_future(process.process.wait())], timeout=0.05)
                else:
                    writer.close()
                    break
            yield port
        finally:
            await process.stop()
        await process.drained()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
