"""The processes that count, from the command's side: each has one part at a time, and reports tables that fit."""

import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from subprocess import DEVNULL
from types import TracebackType
from typing import Final, Self

import msgspec

from service.runtime.child_process import environment
from service.work.counting import Counts
from service.work.errands import receive, send
from service.work.file_counts.messages import END, GO, Report, Task, unpacked_table
from service.work.file_counts.process import PATIENCE
from service.work.line_keys import LineKeys

__all__ = ["CountingFailed", "Part", "Processes"]

_MODULE: Final = "service.work.file_counts.process"
_TICK: Final = 0.2
"""Seconds without a report after which the progress is shown again."""


class CountingFailed(Exception):
    """A process has ended with what it had counted."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one process is given at a time."""

    name: str
    """Of the file."""
    task: Task
    descriptor: int
    """Of the file, which is open until the next part is asked for."""


class _Process:
    def __init__(self, keys: LineKeys) -> None:
        self.part: Part | None = None
        """What it counts."""
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                # Without the directory where it is run, in which a file may be named like a module.
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), msgspec.json.encode(keys).decode()],
                env=environment(), stdin=DEVNULL, stdout=DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip

    def answer(self, report: Report, parts: Iterator[Part]) -> None:
        """Have it go on, count the next part, or end."""
        try:
            if not report.ended:
                self.connection.send(GO)
            elif (part := next(parts, None)) is not None:
                self.give(part)
            else:
                self.part = None
                self.connection.send(END)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has ended, which is seen next

    def give(self, part: Part) -> None:
        """Have it count a part."""
        self.part = part
        send(self.connection, part.task, part.descriptor)

    def close(self) -> None:
        """Have it end at once."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Processes:
    """At most so many processes, whose reports are merged into ``counts``. Leaving the context ends all of them."""

    def __init__(
        self,
        most: int,
        keys: LineKeys,
        counts: Counts,
        progressed: Callable[[int], None],
        failed: Callable[[str, str], None],
    ) -> None:
        """``progressed`` gets how many bytes were read; ``failed`` the name of a file, and why it was not read."""
        self._most = most
        self._keys = keys
        self._counts = counts
        self._progressed = progressed
        self._failed = failed
        self._selector = selectors.DefaultSelector()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._selector.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, parts: Iterator[Part]) -> None:
        """Count all parts. Raises CountingFailed, and OSError where no process can be started."""
        for part in islice(parts, self._most):
            process = _Process(self._keys)
            self._stack.callback(process.close)
            self._selector.register(process.connection, selectors.EVENT_READ, process)
            process.give(part)
        while self._selector.get_map():
            for key, _ in self._selector.select(_TICK):
                self._take(key.data, parts)
            self._progressed(0)

    def _take(self, process: _Process, parts: Iterator[Part]) -> None:
        """Take a report and answer it."""
        try:
            datagram, descriptor = receive(process.connection)
        except ConnectionResetError:
            datagram = b""
        if not datagram:
            self._take_end(process)
            return
        report = msgspec.json.decode(datagram, type=Report)
        for _ in self._counts.merge_pieces([unpacked_table(report, descriptor)]):
            pass
        self._progressed(report.read)
        if report.failed is not None and process.part is not None:
            self._failed(process.part.name, report.failed)
        process.answer(report, parts)

    def _take_end(self, process: _Process) -> None:
        self._selector.unregister(process.connection)
        code = process.process.wait()
        if code or process.part is not None:
            raise CountingFailed(_why(code, process.part.name if process.part is not None else "the end"))


def _why(code: int, name: str) -> str:
    if code == -signal.SIGVTALRM:
        return (
            f"{name}: the regular expression computed for over {PATIENCE:g} s on one piece: it backtracks; "
            "with the extra count (pip install 'sluice[count]') it takes linear time"
        )
    if code < 0:
        why = " (is there too little memory?)" if code == -signal.SIGKILL else ""
        return f"a counting process was ended by {signal.Signals(-code).name} at {name}{why}; nothing is counted"
    return f"a counting process failed at {name} with exit code {code}; nothing is counted"
