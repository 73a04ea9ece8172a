"""A process that counts: carries out one task after another, and reports tables, until the end.

It is given the number of a socket, and as JSON where the keys are.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from service.runtime.child_process import limit
from service.work.counting import KeyCounts, LineCounter
from service.work.errands import receive, send
from service.work.file_counts.decoding import Unreadable
from service.work.file_counts.messages import END, CountReport, CountTask, packed_table
from service.work.file_counts.partitions import TABLE
from service.work.file_counts.reading import pieces_of, without_lines
from service.work.line_keys import LineKeys

__all__ = ["PATIENCE", "main"]

PATIENCE: Final = 60.0
"""Seconds of computing for one piece, then the process is ended: only a pattern that backtracks takes so long."""
_EVERY: Final = 0.2
"""Seconds between two reports, at least."""


def main(arguments: Sequence[str]) -> None:
    """Count until the end."""
    number, keys = arguments
    limit(0)
    with socket.socket(fileno=int(number)) as connection:
        _Counting(connection, msgspec.json.decode(keys, type=LineKeys)).run()


class _Counting:
    def __init__(self, connection: socket.socket, keys: LineKeys) -> None:
        self._connection = connection
        self._counts = KeyCounts(TABLE, spill=self._report_table)
        self._keys = keys.finder()
        self._read = 0
        self._before = 0
        """Lines in the present table that belong to earlier tasks."""
        self._reported = 0
        """Lines of this task that are in earlier tables."""
        self._next = time.monotonic() + _EVERY

    def run(self) -> None:
        while True:
            order, descriptor = receive(self._connection)
            if not order:
                return  # the command has ended
            if order == END:
                self._report_table()
                return
            task = msgspec.json.decode(order, type=CountTask)
            self._before, self._reported = self._counts.lines, task.skip
            try:
                failed = self._carry_out(task, descriptor)
            finally:
                os.close(descriptor)
            if task.report:
                self._report_table(ended=True, failed=failed)
            else:
                self._report(CountReport(self._read, ended=True, failed=failed), {})

    def _carry_out(self, task: CountTask, descriptor: int) -> str | None:
        """Count, and return why not all could be read."""
        counter = LineCounter(self._keys, self._counts)
        try:
            pieces = pieces_of(descriptor, task.start, task.end, self._took)
            for data in without_lines(pieces, task.skip):
                signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
                counter.feed(data)
                if time.monotonic() >= self._next:
                    self._report(CountReport(self._read), {})
        except Unreadable as error:
            return str(error)  # what it holds of a line may have half of a key
        except OSError as error:
            return error.strerror or str(error)
        counter.finish()
        return None

    def _took(self, size: int) -> None:
        self._read += size

    def _report_table(self, *, ended: bool = False, failed: str | None = None) -> None:
        (lines, skipped, error, distinct), part = self._counts.drain()
        self._reported += lines - self._before
        self._before = 0
        head = (lines, skipped, error, distinct)
        self._report(CountReport(self._read, head, len(part), self._reported, ended, failed), part)

    def _report(self, report: CountReport, part: dict[bytes, int]) -> None:
        """Send a report; the answer to one that ends a task is the next task."""
        descriptor = packed_table(part)
        try:
            send(self._connection, report, descriptor)
        finally:
            os.close(descriptor)
        self._read = 0
        self._next = time.monotonic() + _EVERY
        if not report.ended:
            order, _ = receive(self._connection)
            if not order:
                sys.exit(1)  # the command has ended


if __name__ == "__main__":
    main(sys.argv[1:])
