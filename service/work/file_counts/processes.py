"""The command's side of the processes that count: each counts one part at a time, and reports small tables.

If a process is killed, another one counts again the parts that it had and did not report.
"""

import selectors
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain, islice
from subprocess import DEVNULL
from types import TracebackType
from typing import Final, Self

import msgspec

from service.runtime.python_path import command, environment
from service.work.counting import KeyCounts
from service.work.errands import receive, send
from service.work.file_counts.messages import END, GO, CountReport, unpacked_table
from service.work.file_counts.process import PATIENCE
from service.work.file_counts.unreported import Part, Unreported
from service.work.line_keys import LineKeys

__all__ = ["CountingFailed", "Processes"]

_MODULE: Final = "service.work.file_counts.process"
_TICK: Final = 0.2
"""Seconds without a report after which the progress is shown again."""
_BACKTRACKS: Final = -signal.SIGVTALRM
"""The exit code of a process whose pattern backtracks for too long."""


class CountingFailed(Exception):
    """A process has ended, and the parts that it had cannot be counted again."""


class _Process:
    def __init__(self, keys: LineKeys, parts: Iterator[Part]) -> None:
        """Start a process that counts ``parts``, one after the other."""
        self.part: Part | None = None
        """What it counts."""
        self.unreported = Unreported()
        self.parts = parts
        """Parts to give it: its own first, then those that all processes share."""
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                command(_MODULE, str(theirs.fileno()), msgspec.json.encode(keys).decode()),
                env=environment(), stdin=DEVNULL, stdout=DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip

    def answer(self, report: CountReport) -> None:
        """Have it go on, or count the next part."""
        if report.ended:
            self.assign()
        else:
            self._send(lambda: self.connection.send(GO))

    def assign(self) -> None:
        """Have it count the next part, or end."""
        part = self.part = next(self.parts, None)
        if part is None:
            self._send(lambda: self.connection.send(END))
        else:
            given = self.unreported.add(part)
            self._send(lambda: send(self.connection, given.task, given.descriptor))

    @staticmethod
    def _send(action: Callable[[], object]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, which the next look finds
            action()

    def close(self) -> None:
        """Have it end at once."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.unreported.close()


class Processes:
    """At most this many processes; their reports are merged into ``counts``. Leaving the context ends them."""

    def __init__(
        self,
        most: int,
        keys: LineKeys,
        counts: KeyCounts,
        progressed: Callable[[int], None],
        failed: Callable[[str, str], None],
        lost: Callable[[str], None],
    ) -> None:
        """``progressed`` gets how many bytes were read, a negative number if they are to be read again.

        ``failed`` gets the name of a file and why it was not read; ``lost`` gets why a process has ended.
        """
        self._most = most
        self._keys = keys
        self._counts = counts
        self._progressed = progressed
        self._failed = failed
        self._lost = lost
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
            self._start(chain([part], parts))
        while self._selector.get_map():
            for key, _ in self._selector.select(_TICK):
                self._handle_report(key.data)
            self._progressed(0)

    def _start(self, parts: Iterator[Part]) -> None:
        process = _Process(self._keys, parts)
        self._stack.callback(process.close)
        self._selector.register(process.connection, selectors.EVENT_READ, process)
        process.assign()

    def _handle_report(self, process: _Process) -> None:
        """Take a report and answer it."""
        try:
            datagram, descriptor = receive(process.connection)
        except ConnectionResetError:
            datagram = b""
        if not datagram:
            self._handle_exit(process)
            return
        report = msgspec.json.decode(datagram, type=CountReport)
        for _ in self._counts.merge_pieces([unpacked_table(report, descriptor)]):
            pass
        process.unreported.reported(report)
        self._progressed(report.read)
        if report.failed is not None and process.part is not None:
            self._failed(process.part.name, report.failed)
        process.answer(report)

    def _handle_exit(self, process: _Process) -> None:
        """Have another process count the parts that a process had not reported when it ended."""
        self._selector.unregister(process.connection)
        code = process.process.wait()
        if not code and process.part is None:
            return
        why = _why(code, process.part.name if process.part is not None else "the end")
        if code == _BACKTRACKS:
            raise CountingFailed(why)
        if why_not := process.unreported.why_not:
            raise CountingFailed(f"{why}; {why_not}, so nothing is counted")
        self._lost(f"{why}; what it had is counted once more")
        self._progressed(-process.unreported.read)
        self._start(chain(process.unreported.again(), process.parts))


def _why(code: int, name: str) -> str:
    if code == _BACKTRACKS:
        return (
            f"{name}: the regular expression computed for over {PATIENCE:g} s on one piece: it backtracks; "
            "with the extra count (pip install 'sluice[count]') it takes linear time"
        )
    if code < 0:
        why = " (is there too little memory?)" if code == -signal.SIGKILL else ""
        return f"a counting process was ended by {signal.Signals(-code).name} at {name}{why}"
    return f"a counting process failed at {name} with exit code {code}"
