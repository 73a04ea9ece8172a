"""The way of a line to its stream: a bounded queue, and a thread that writes.

The reader of standard error may be slow, or gone with the pipe full. Then lines are counted instead of kept,
the count is written as soon as there is room, and stopping waits for one second at most.
"""

import logging
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Final, TextIO

from service.ops.logs.lines import Redaction, Style, line_of
from service.ops.logs.throttle import Throttle

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["Logs", "UnbufferedFile"]

_ROOM: Final = 10_000
_LINES: Final = 10
_LOOK: Final = 1.0
"""Seconds between two looks at what was left out, in silence."""


class _Handler(logging.Handler):
    """Makes lines of records, there and then: what a record refers to may change. Never waits."""

    def __init__(
        self, lines: "queue.Queue[str]", line: Callable[[logging.LogRecord], str], throttle: Throttle
    ) -> None:
        super().__init__()
        self.dropped = 0
        self._lines = lines
        self._line = line
        self._throttle = throttle

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if not self._throttle.admit(f"{record.name}: {record.msg}"):
            return
        try:
            line = self._line(record)
        except Exception as error:  # an object whose text cannot be made, say: the event is reported all the same
            line = self._notice("an event could not be written", kind=str(record.msg), why=repr(error))
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def notices(self, *, end: bool = False) -> Iterator[str]:
        """Yield lines that tell of what was not written, and forget it."""
        with self.lock or threading.Lock():
            dropped, self.dropped = self.dropped, 0
            left = self._throttle.left_out(end=end)
        if dropped:
            yield self._notice("lines were dropped: nobody read them", count=dropped)
        for kind, count in left.items():
            yield self._notice("lines of a kind were left out", kind=kind, count=count)

    def _notice(self, text: str, **more: object) -> str:
        record = logging.LogRecord("sluice.logs", logging.WARNING, __file__, 0, text, None, None)
        vars(record).update(more)
        return self._line(record)


class UnbufferedFile(FileIO):
    """A file that takes all of a write, or raises; a line that an error cut off does not spoil the next one."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._cut = False

    def write(self, data: "Buffer") -> int:
        """Write all of it: a disk that fills up takes a part first, and raises at the next write."""
        left = memoryview(b"\n" + bytes(data) if self._cut else bytes(data))
        while left:
            self._cut = True
            left = left[super().write(left) or 0 :]
        self._cut = False
        return memoryview(data).nbytes


def _standard_error() -> TextIO:
    """Return standard error without a buffer.

    A write to a full pipe waits with the buffer's lock, and the interpreter's end waits for that.
    """
    raw = UnbufferedFile(sys.stderr.fileno())
    return TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


class Logs:
    """The root logger's way to a stream, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        style: Style = "text",
        secrets: Iterable[str | None] = (),
        room: int = _ROOM,
        lines: int = _LINES,
        clock: Callable[[], float] = time.monotonic,
        failures: Counter[str] | None = None,
    ) -> None:
        self._failures: Counter[str] = Counter() if failures is None else failures
        self._stream = stream or _standard_error()
        self._lines: queue.Queue[str] = queue.Queue(room)
        redact = Redaction(secrets)
        self.handler = _Handler(self._lines, lambda record: line_of(record, style, redact), Throttle(lines, clock))
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Send what is logged from now on to the stream."""
        root = logging.getLogger()
        root.addHandler(self.handler)
        root.setLevel(logging.INFO)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, for at most a second: the end of the process must not wait for its reader."""
        logging.getLogger().removeHandler(self.handler)
        self._stopping = True
        with suppress(queue.Full):  # then it is awake
            self._lines.put_nowait("")
        self._thread.join(1.0)

    def _run(self) -> None:
        while not (self._stopping and self._lines.empty()):
            try:
                line = self._lines.get(timeout=_LOOK)
            except queue.Empty:
                line = ""
            self._turn(line)
        self._turn("", end=True)

    def _turn(self, line: str, *, end: bool = False) -> None:
        """Write a line, and what is to be said of others; an error costs this line alone."""
        try:
            self._write([*self.handler.notices(end=end), line])
        except Exception:
            # Logged where it ends: a line about it would come back here.
            self._failures["log writer"] += 1
            self.handler.dropped += bool(line)

    def _write(self, lines: list[str]) -> None:
        text = "".join(lines)
        if not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # A full disk, or a stream that was closed: reported when it takes something again.
            self.handler.dropped += sum(map(bool, lines))
