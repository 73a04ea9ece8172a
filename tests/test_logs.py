"""Logs reach their stream, and a stream that takes nothing holds up nobody."""

import io
import logging
import os
import threading

from service.logs import Logs


def test_records_are_written() -> None:
    stream = io.StringIO()
    logs = Logs(stream)
    logs.start()
    logging.getLogger("x").warning("one %d", 1)
    logs.stop()
    assert "WARNING x: one 1" in stream.getvalue()


def test_a_full_pipe_stops_nobody_and_the_loss_is_counted() -> None:
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    logs = Logs(stream, room=50)
    logs.start()
    for number in range(5000):
        logging.getLogger("x").warning("%d %s", number, "x" * 1000)
    assert logs.handler.dropped > 1000
    logs.stop()  # nobody reads: it comes back all the same

    lines: list[str] = []

    def drain() -> None:
        with os.fdopen(read) as reader:
            lines.extend(reader)

    reader = threading.Thread(target=drain)
    reader.start()
    late = Logs(stream, room=50)
    late.handler.dropped = 7
    late.start()
    logging.getLogger("x").warning("after")
    late.stop()
    stream.close()
    reader.join(10)
    assert "7 records were dropped" in "".join(lines)
    assert "after" in lines[-1]
