"""The service killed and started again during a run: by this program, or by somebody else such as systemd."""

import asyncio
import os
import shlex
import signal
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any
from urllib.parse import urlsplit

from loadtest.measures import Measures
from loadtest.pace import until, until_all
from loadtest.report import RunReport
from loadtest.server_processes import listening_processes

__all__ = ["CRASHING", "CannotCrash", "Crashes", "crashing", "wrong_crashes"]

CRASHING = Measures(
    (
        "crashes", "cut_off", "returned", "recovered", "not_recovered", "epochs_changed", "retried", "acknowledged",
        "missing", "republished",
    ),
    ("down", "resume"),
)  # fmt: skip
"""What a run with crashes measures beside the rest."""
_BOUNDS = (
    "missing==0", "lost==0", "repeated==0", "reordered==0", "republished==0", "altered==0", "epochs_changed==0",
)  # fmt: skip
_START, _STOP, _LOOK = 60.0, 20.0, 0.02
"""Seconds for a start, and for an end when the run is over; between two looks whether it is up."""
_LOG = 4_000


class CannotCrash(Exception):
    """The service could not be started, or was not started again; one line."""


def wrong_crashes(options: Namespace) -> list[str]:
    """Return what is wrong with ``--crash``; and settle what such a run has to keep."""
    if not options.crash:
        return []
    wrong = _wrong_command(options.crash) + ([] if options.crashes > 0 else ["--crashes: must be above 0"])
    if options.target != "sluice":
        wrong.append("--crash: only with the target sluice, whose positions outlive a crash")
    if any(len(user["topics"]) > 1 for user in options.user_rows):
        wrong.append("--users: one topic for each with --crash")
    if urlsplit(options.url).hostname not in ("localhost", "127.0.0.1", "::1"):
        wrong.append("--crash: the service has to run on this machine")
    if options.apart:
        wrong.append("--apart: has no place with --crash: those who publish come back as readers")
    named = {text.partition("=")[0].strip() for text in options.threshold}
    options.threshold = [
        *options.threshold,
        *(
            text
            for text in (f"crashes=={options.crashes * options.rounds}", *_BOUNDS)
            if text.partition("=")[0] not in named
        ),
    ]
    return wrong + (_wrong_process(options) if not wrong and options.crash.isdigit() else [])


def _wrong_command(text: str) -> list[str]:
    try:
        return [] if shlex.split(text) else ["--crash: a process or a command"]
    except ValueError as error:
        return [f"--crash: {text!r} is not a command: {error}"]


def _wrong_process(options: Namespace) -> list[str]:
    """Return why a process is not to be killed: it is not the one that the load is for."""
    found = [process.pid for process in listening_processes(options.url)]
    if int(options.crash) in found:
        return []
    there = f"process {found[0]} does" if found else "no process of this user does"
    return [f"--crash: process {options.crash} does not listen at {options.url}; {there}"]


@asynccontextmanager
async def crashing(options: Namespace, report: RunReport) -> AsyncIterator["Crashes | None"]:
    """Have the service run as ``--crash`` says, until the block ends; raises CannotCrash."""
    if not getattr(options, "crash", ""):
        yield None
        return
    with TemporaryFile() as log:
        crashes = Crashes(options, report, log)
        try:
            await crashes.start()
            yield crashes
        finally:
            await crashes.end()


class Crashes:
    """Kills the service ``--crashes`` times, spread over the load."""

    def __init__(self, options: Namespace, report: RunReport, log: IO[bytes]) -> None:
        self._options = options
        self._report = report
        self._log = log
        self._command = [] if options.crash.isdigit() else shlex.split(options.crash)
        self._pid = 0 if self._command else int(options.crash)
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: Callable[[str], None] = lambda why: None
        self.on_started: Callable[[], None] = lambda: None
        """Called when the service is up again: it is another process."""

    async def start(self) -> None:
        """Start the service, if that is ours to do, and wait until it is up."""
        if not self._command:
            return
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                # Ctrl-C is for this program, which ends that one when its report is made.
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise CannotCrash(f"--crash: {self._command[0]}: {error.strerror}") from None
        self._pid = self._process.pid
        await self._wait_until_up()

    def begin(self, failed: Callable[[str], None], moment: float) -> None:
        """Crash it from the begin of the load on; ``failed`` gets the reason where that cannot go on."""
        self._failed = failed
        self._running = asyncio.create_task(self._run(moment))

    async def _run(self, begin: float) -> None:
        try:
            await self._all(begin)
        except CannotCrash as error:
            self._failed(str(error))

    async def _all(self, begin: float) -> None:
        """Crash it again and again; the last time so that the load goes on after it."""
        options = self._options
        for number in range(options.crashes):
            await until(begin + options.duration * (number + 1) / (options.crashes + 1))
            await self._once()

    async def _once(self) -> None:
        report, down = self._report, monotonic()
        await self._kill()
        report.add({**_NOTHING, "counters": {"crashes": 1}})
        if self._command:
            await self.start()
        else:
            self._pid = await self._successor()
        took = monotonic() - down
        report.latency("down").record(took * 1000)
        self.on_started()

    async def _kill(self) -> None:
        if self._process is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            return
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: int) -> None:
        """Send a signal to what we have started, and to what that has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, number)

    async def _successor(self) -> int:
        """Wait for somebody to start the service again; return its process."""
        found: list[int] = []

        async def find() -> bool:
            pids = [one.pid for one in await asyncio.to_thread(listening_processes, self._options.url)]
            found[:] = [pid for pid in pids if pid != self._pid]
            return bool(found)

        deadline = monotonic() + _START
        while not await find():
            if monotonic() > deadline:
                raise CannotCrash(f"nobody has started the service again within {_START:.0f} s of its end")
            await asyncio.sleep(_LOOK)
        return found[0]

    async def _wait_until_up(self) -> None:
        process = self._process
        assert process is not None
        parts = urlsplit(self._options.url)
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        deadline = monotonic() + _START
        while not await _accepts(str(parts.hostname), port):
            if process.returncode is not None or monotonic() > deadline:
                raise CannotCrash(f"--crash: the service is not up at {self._options.url}: {self._said()}")
            await asyncio.sleep(_LOOK)

    def _said(self) -> str:
        """Return the last line that it has written."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace")[-_LOG:].split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    async def end(self) -> None:
        """End what was started here."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        process = self._process
        await until_all(lambda: process.returncode is not None, _STOP)
        self._signal(signal.SIGKILL)
        await process.wait()


_NOTHING: dict[str, Any] = {"counters": {}, "errors": {}, "checks": {}, "places": [], "latencies": {}}


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
