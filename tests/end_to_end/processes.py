"""Real processes: the service and its neighbours, started on free ports and ended by their id.

All are started by ``start``; ``end_all``, which runs after each test, leaves no process and no pipe behind.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


PATIENCE = 60.0
"""Seconds that a process has to start or to end: many times what it needs, because the machine may be loaded."""

_NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Nothing is asked here that the machine's authorities have signed, and a process takes 0.1 s to load them."""

_started: "set[Process]" = set()


class Endpoint:
    """Where a process listens."""

    url = ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"


class Process(Endpoint):
    """A child process; what it wrote and nobody read is in ``output`` and ``errors`` when it has been closed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = b""
        self.errors = b""

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.terminate()
        return await self.ended()

    async def ended(self, within: float = PATIENCE) -> int:
        try:
            return await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            await self.kill()
            raise

    async def kill(self) -> None:
        """End it and what it has started itself, which is in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def close(self) -> None:
        """Kill it if it still runs, read what it has written, and close its pipes."""
        await self.kill()
        self.output, self.errors = [await _rest(stream) for stream in (self.process.stdout, self.process.stderr)]
        # Public in asyncio.SubprocessTransport, which Process hides.
        transport = self.process._transport  # type: ignore[attr-defined]
        for descriptor in range(3):
            if (pipe := transport.get_pipe_transport(descriptor)) is not None:
                pipe.close()
        transport.close()
        _started.discard(self)


async def _rest(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end; what a grandchild keeps open longer than that is left."""
    if stream is None:
        return b""
    with suppress(TimeoutError, RuntimeError):  # somebody else reads it
        return await asyncio.wait_for(stream.read(), 2)
    return b""


async def start(
    *argv: str,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdin: int | None = asyncio.subprocess.DEVNULL,
    stdout: int | None = asyncio.subprocess.PIPE,
    stderr: int | None = asyncio.subprocess.PIPE,
    **more: Any,
) -> Process:
    """Start a process with these variables beside ours; ``more`` is for ``asyncio.create_subprocess_exec``."""
    environment = {**os.environ, **(_NO_AUTHORITIES if argv[0] == sys.executable else {}), **(env or {})}
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, **more
    )
    child = Process(process)
    _started.add(child)
    return child


async def end_all() -> None:
    """End what a test has left, because it failed or never meant to."""
    for child in list(_started):
        await child.close()


async def run(
    *argv: str, env: Mapping[str, str] | None = None, within: float = 60, **more: Any
) -> tuple[int, str, str]:
    """Run to the end and return (exit code, output, errors)."""
    child = await start(*argv, env=env, **more)
    try:
        out, err = await asyncio.wait_for(child.process.communicate(), within)
    finally:
        await child.close()
    assert child.process.returncode is not None
    return child.process.returncode, (out or b"").decode(), (err or b"").decode()


@asynccontextmanager
async def listening(*argv: str, env: Mapping[str, str] | None = None, **more: Any) -> AsyncIterator[Process]:
    """Run a program that says where it listens, until the block ends."""
    child = await start(*argv, env=env, **more)
    try:
        line = await child.line()
        if "listening on" not in line:
            _, err = await child.process.communicate()
            pytest.fail(f"{argv} did not start: {line} {err.decode()}")
        child.url = line.split("listening on")[1].strip()
        yield child
        await child.stop()
    finally:
        await child.close()


@contextmanager
def shared_service() -> Iterator[Endpoint]:
    """Run the service without options, for many tests, each of which has a loop of its own."""
    with tempfile.TemporaryFile() as log:
        command = (sys.executable, "-m", "service", "serve", "--port", "0")
        with subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **_NO_AUTHORITIES}, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process:
            assert process.stdout is not None
            shared = Endpoint()
            shared.url = process.stdout.readline().partition("listening on")[2].strip()
            try:
                assert shared.url, "it did not start"
                yield shared
            finally:
                process.terminate()
                code = process.wait(PATIENCE)
        log.seek(0)
        logged = log.read().decode()
    assert (code, "Traceback" in logged) == (0, False), logged


def service(*options: str, env: dict[str, str] | None = None) -> AbstractAsyncContextManager[Process]:
    """Run the service with these options."""
    return listening(sys.executable, "-m", "service", "serve", "--port", "0", *options, env=env)


def origin() -> AbstractAsyncContextManager[Process]:
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
            await process.stop()
        finally:
            await process.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
