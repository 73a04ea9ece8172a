"""Child processes that are pinned to a core, and what the kernel says of them."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import psutil

from service.ops.process import sockets

__all__ = ["CHECKOUT", "Child", "build", "descriptors", "kernel", "reachable", "settle", "unread_pipe"]

_FOLDER = Path(__file__).parent
_SERVICE: Final = ["-m", "service"]
CHECKOUT: Final = "BENCH_SERVICE"
"""The environment variable that names the checkout whose service is started, if it is not this one."""
_AGAIN: Final = 0.05
_ERRORS = Path("bench-out") / "errors.log"
"""Where the standard error of children goes: among the figures it would make both unreadable."""


def build(name: str) -> str:
    """Compile one of the C programs where it is newer than what was built, and return its path."""
    source, target = _FOLDER / "c" / f"{name}.c", Path(".bench") / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(target), str(source)], check=True)
    return str(target.absolute())


def raise_descriptors() -> None:
    """Have this process, and those that it starts, use as many descriptors as they may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def reachable(port: int, within: float = 5.0) -> None:
    """Wait until somebody listens on a port of this machine; raises RuntimeError after this many seconds."""
    for _ in range(int(within / _AGAIN)):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(_AGAIN)
        else:
            return
    raise RuntimeError(f"nothing listens on {port}")


class Child:
    """One process: started on a core, asked for its CPU time and memory, and ended by its id."""

    def __init__(
        self,
        argv: Sequence[str],
        core: int | str,
        env: Mapping[str, str] | None = None,
        *,
        idle: bool = False,
        apart: bool = False,
        errors: IO[Any] | int | None = None,
    ) -> None:
        """Start it on a core, or on several as taskset writes them.

        ``apart`` gives it a process group of its own, ``errors`` takes its standard error.

        ``idle`` leaves the core to everyone else: it stands for another machine.
        """
        place = ["taskset", "-c", str(core), *(["chrt", "--idle", "0"] if idle else [])]
        _ERRORS.parent.mkdir(exist_ok=True)
        with _ERRORS.open("a") as log:
            self.process = subprocess.Popen(
                [*place, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log if errors is None else errors,
                text=True,
                env={**os.environ, **(env or {})},
                cwd=os.environ.get(CHECKOUT) if list(argv[1:3]) == _SERVICE else None,
                start_new_session=apart,
            )

    @property
    def pid(self) -> int:
        """Its id: taskset and the shells that may stand before it have made place for it."""
        return self.process.pid

    def line(self) -> str:
        """Return the next line of its output; raises RuntimeError when it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}; {_ERRORS} may say why")
        return line.strip()

    def write_line(self, line: str) -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def cpu(self) -> float:
        """Return the seconds of CPU that it and its children (nginx has a worker) have used."""
        return float(sum(times.user + times.system for times in (one.cpu_times() for one in self._family())))

    def resident(self) -> int:
        """Return the resident bytes of it and its children."""
        return int(sum(one.memory_info().rss for one in self._family()))

    def peak(self) -> int:
        """Return the most resident bytes that it ever had, without its children."""
        # psutil has it for Windows alone.
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children()]

    def stop(self, within: float = 5) -> None:
        """End it, and wait for it as long as it may take; then it is killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self.process.kill()
        self.process.wait()
        self.stop()

    def kill_group(self) -> None:
        """Kill it and all of its group, and wait for its end; it was started ``apart``."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.stop()


def descriptors(child: Child) -> int:
    """Return how many descriptors a process has open."""
    return int(psutil.Process(child.pid).num_fds())


def kernel() -> int:
    """Return the bytes that all TCP sockets of this machine hold."""
    return sockets()


def settle(child: Child, quiet: float = 0.3, most: float = 10.0) -> None:
    """Wait until a process does nothing any more."""
    end, last = time.monotonic() + most, -1.0
    while time.monotonic() < end and (now := child.cpu()) != last:
        last = now
        time.sleep(quiet)


@contextmanager
def unread_pipe() -> Iterator[int]:
    """Yield the end to write to of a pipe that is full already."""
    out, into = os.pipe()
    try:
        os.set_blocking(into, False)
        with suppress(BlockingIOError):
            while os.write(into, bytes(4096)):
                continue
        os.set_blocking(into, True)
        yield into
    finally:
        os.close(into)
        os.close(out)
