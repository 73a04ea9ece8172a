"""Logs reach their stream, and a stream that takes nothing holds up nobody."""

import io
import logging
import os
import re
import threading

from service.logs import Logs


def test_records_are_written() -> None:
    stream = io.StringIO()
    logs = Logs(stream)
    logs.start()
    logging.getLogger("x").warning("one %d", 1)
    logs.stop()
    assert "WARNING x: one 1" in stream.getvalue()


def test_a_full_pipe_stops_nobody() -> None:
    others = set(threading.enumerate())
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    logs = Logs(stream, room=50)
    logs.start()
    for number in range(500):
        logging.getLogger("x").warning("%d %s", number, "x" * 10_000)
    logs.stop()  # nobody reads: it comes back all the same

    writers = set(threading.enumerate()) - others
    lines: list[str] = []

    def read_all() -> None:
        with os.fdopen(read) as received:
            lines.extend(received)

    reader = threading.Thread(target=read_all)
    reader.start()
    for writer in writers:  # they end as soon as somebody does
        writer.join(10)
    stream.close()
    reader.join(10)
    told = sum(int(found[1]) for line in lines if (found := re.search(r"(\d+) records were dropped", line)))
    written = sum("xxx" in line for line in lines)
    assert 1 <= written < 100  # a pipe takes 6 of them, the queue 50
    assert written + told + logs.handler.dropped == 500


def test_the_records_lost_are_counted_in_the_log() -> None:
    stream = io.StringIO()
    logs = Logs(stream)
    logs.handler.dropped = 7
    logs.start()
    logging.getLogger("x").warning("after")
    logs.stop()
    lines = stream.getvalue().splitlines()
    assert "7 records were dropped" in lines[0]
    assert "after" in lines[1]
