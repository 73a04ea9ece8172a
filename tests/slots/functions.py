"""Functions for the tests of slots."""

import asyncio
import os
import signal
import sys
import time
from typing import Any

from service.jobs import Context, job


@job(retries=1, timeout=20)
def add(a: int, b: int) -> int:
    """Add."""
    print("adding", a)
    return a + b


@job
async def later() -> str:
    """Wait for a loop of its own."""
    await asyncio.sleep(0.01)
    return "later"


@job(name="say.progress")
def report(count: int, context: Context) -> dict[str, Any]:
    """Say how far it is."""
    for number in range(count):
        context.progress(number, count, "step")
    context.progress(data={"all": True})
    return {"job": context.job, "attempt": context.attempt, "key": context.key}


@job
def stop_when_asked(context: Context) -> str:
    """Run until it is asked to stop."""
    context.progress(message="runs")
    while not context.cancelled:
        time.sleep(0.01)
    return "stopped"


@job
def deaf(context: Context) -> None:
    """Run on, with a child that does too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child:
        context.progress(data=child)
    time.sleep(1000)


@job
def die(context: Context, how: int) -> None:
    """End its process."""
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


@job
def leave() -> None:
    """Raise what ends a process elsewhere."""
    sys.exit("leaving")


@job
def odd() -> object:
    """Return what JSON has no form for."""
    return object()


@job
def large() -> str:
    """Return too much."""
    return "x" * (2 << 20)


@job
def odd_progress(context: Context) -> None:
    """Report what JSON has no form for."""
    context.progress(data=object())


@job
def eat() -> int:
    """Take more memory than there is for it."""
    return len(bytearray(3 << 30))


@job
def print_for_ever(context: Context) -> None:
    """Print until it is asked to stop."""
    context.progress(message="prints")
    while not context.cancelled:
        print("x" * 1000)


@job
def close_output() -> str:
    """Close its standard output."""
    os.close(1)
    return "closed"
