"""Lines to a stream whose reader may be slow, from a thread of their own."""

import queue
import threading
from typing import BinaryIO

__all__ = ["Output"]


class Output:
    """Writes lines in order; ``waiting`` says how many bytes the reader has not taken yet."""

    def __init__(self, stream: BinaryIO) -> None:
        self.waiting = 0
        self.broken = False
        """Whether the reader has gone; what comes after that is lost."""
        self._stream = stream
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Write a line; never waits."""
        with self._lock:
            self.waiting += len(line)
        self._lines.put(line)

    def close(self) -> None:
        """Wait until all is written."""
        self._lines.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if not self.broken:
                try:
                    self._stream.write(line + b"\n")
                    if self._lines.empty():
                        self._stream.flush()
                except OSError:
                    self.broken = True
            with self._lock:
                self.waiting -= len(line)
