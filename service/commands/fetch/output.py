"""Lines to a stream whose reader may be slow, from a thread of their own."""

import errno
import queue
import threading
from collections.abc import Iterable

from service.commands.writing import write_all

__all__ = ["OutputWriter"]

_TOGETHER = 1 << 16
"""Bytes that are written at once."""


class OutputWriter:
    """Writes to a descriptor in order; ``waiting`` says how many bytes the reader has not taken yet."""

    def __init__(self, descriptor: int) -> None:
        self.waiting = 0
        self.error: OSError | None = None
        """Why nothing can be written any more; what comes after that is dropped."""
        self._descriptor = descriptor
        self._held: list[bytes] = []
        self._held_size = 0
        self._queue: queue.SimpleQueue[tuple[Iterable[bytes], int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    @property
    def left(self) -> bool:
        """Whether the reader has gone."""
        return self.error is not None and self.error.errno in (errno.EPIPE, errno.ECONNRESET)

    def put(self, pieces: Iterable[bytes], size: int) -> None:
        """Write these; never waits. They are taken one by one, so all of them need never be in memory."""
        with self._lock:
            self.waiting += size
        self._queue.put((pieces, size))

    def close(self) -> None:
        """Wait until all is written."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        waited = 0
        while (item := self._queue.get()) is not None:
            pieces, size = item
            waited += size
            try:
                for piece in pieces:
                    self._hold(piece)
            except Exception as error:  # a thread that ends would leave everybody waiting
                self.error = self.error or OSError(errno.EINVAL, f"internal error: {error!r}")
            if self._held and self._queue.empty():
                self._flush()
            if not self._held:
                with self._lock:
                    self.waiting -= waited
                waited = 0
        self._flush()
        self.waiting = 0

    def _hold(self, piece: bytes) -> None:
        if self.error is not None:
            raise self.error
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size >= _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        self._write(b"".join(self._held))
        self._held.clear()
        self._held_size = 0

    def _write(self, data: bytes) -> None:
        if self.error is None:
            try:
                write_all(self._descriptor, data)
            except OSError as error:
                self.error = error
