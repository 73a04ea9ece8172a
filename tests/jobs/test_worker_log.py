"""The log of Celery workers."""

import logging

from service.jobs.worker_log import OnceAMinute


def line(name: str, text: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "", 0, text, ("read-only",), None)


def test_a_line_about_the_connection_to_the_broker_is_written_once_a_minute() -> None:
    now = 0.0
    once = OnceAMinute(lambda: now)
    name = "celery.worker.consumer.consumer"
    written = 0
    for now in (0.0, 0.2, 0.4, 59.0, 60.5, 60.7):  # noqa: B007
        written += bool(once.filter(line(name, "Connection to broker lost (%s)")))
    assert written == 2
    assert once.filter(line(name, "Connected to %s"))


def test_other_lines_are_all_written() -> None:
    once = OnceAMinute(lambda: 0.0)
    assert all(once.filter(line("sluice.worker", "%s")) for _ in range(3))
