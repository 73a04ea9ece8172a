"""Logging that never stops the loop: records go through a bounded queue to a thread that writes them.

Whoever reads standard error may be slow, or gone with the pipe full. Then records are counted instead of
kept, the count is logged as soon as there is room, and stopping waits one second and no more.
"""

import logging
import logging.handlers
import queue
import sys
import threading
from typing import TextIO

__all__ = ["Logs"]

_ROOM = 10_000


class _Handler(logging.handlers.QueueHandler):
    """Puts records into the queue, or counts them."""

    def __init__(self, records: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(records)
        self.dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Take a record; never waits."""
        if self.dropped:
            text = f"{self.dropped} records were dropped: nobody read them"
            notice = logging.LogRecord("sluice", logging.WARNING, __file__, 0, text, None, None)
            try:
                self.queue.put_nowait(notice)
            except queue.Full:
                self.dropped += 1
                return
            self.dropped = 0
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Listener(logging.handlers.QueueListener):
    """Waits for room to say that it ends, where the standard library's fails."""

    def enqueue_sentinel(self) -> None:
        """Tell the writing thread to stop."""
        self.queue.put(None)  # type: ignore[attr-defined]  # ours is a queue.Queue


class Logs:
    """The root logger's way to a stream, from :meth:`start` to :meth:`stop`."""

    def __init__(self, stream: TextIO | None = None, *, room: int = _ROOM) -> None:
        records: queue.Queue[logging.LogRecord] = queue.Queue(room)
        writer = logging.StreamHandler(stream or sys.stderr)
        writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.handler = _Handler(records)
        self._listener = _Listener(records, writer)

    def start(self) -> None:
        """Send what is logged from now on to the stream."""
        root = logging.getLogger()
        root.addHandler(self.handler)
        root.setLevel(logging.INFO)
        self._listener.start()

    def stop(self) -> None:
        """Write what is left, for at most a second: the end of the process must not wait for its reader."""
        logging.getLogger().removeHandler(self.handler)
        stopping = threading.Thread(target=self._listener.stop, daemon=True)
        stopping.start()
        stopping.join(1.0)
