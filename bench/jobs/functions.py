"""What jobs of the benchmarks do, here and in Celery."""

import json
import os
import time
from pathlib import Path

from service.jobs import Context, job

__all__ = ["hold", "mark", "stamp", "take", "write_stamp"]


def write_stamp(file: str, given: float | str) -> None:
    """Append when this began, and what was given: one line, which nobody else writes into."""
    line = json.dumps([given, time.time(), os.getpid()]) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@job
def stamp(file: str, given: float) -> None:
    """Say when it began."""
    write_stamp(file, given)


@job
def hold(file: str, given: float, context: Context) -> str:
    """Say when it began, and run for long in its first attempt."""
    write_stamp(file, given)
    if context.attempt == 1:
        time.sleep(600)
    return Path(file).name


@job
def take(file: str, given: float, seconds: float) -> None:
    """Record when the function began, and take some time."""
    write_stamp(file, given)
    time.sleep(seconds)


@job(retries=50)
def mark(file: str, name: str, context: Context) -> str:
    """Say that it began, and take a moment."""
    write_stamp(file, name)
    context.progress(1, 2)
    time.sleep(0.01)
    return name
