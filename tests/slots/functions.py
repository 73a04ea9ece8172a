"""Functions for the tests of slots."""

import asyncio
import io
import os
import resource
import signal
import socket
import sys
import threading
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
def returned(what: str) -> object:
    """Return a value that JSON would change on the way to its reader."""
    return {"nan": [float("nan")], "infinity": {"a": float("-inf")}, "long": 1 << 64, "half": "\ud800"}[what]


@job
def odd_but_fine() -> object:
    """Return an odd value that JSON can represent."""
    return {"set": {1}, "bytes": b"abc", "none": None, "long": (1 << 64) - 1, "number": 0.1, 1: (2,)}


@job
def report_nan(context: Context) -> None:
    """Report NaN as progress."""
    context.progress(float("nan"))


LEFT: list[Any] = []


@job
def leave_behind(what: str) -> str:
    """Leave something in the process in which the next function would fail."""
    if what == "directory":
        os.chdir("/")
    elif what == "handler":
        signal.signal(signal.SIGUSR1, lambda *_: None)
    elif what == "timer":
        signal.setitimer(signal.ITIMER_PROF, 1000)
    elif what == "mask":
        os.umask(0o777)
    elif what == "priority":
        os.nice(1)
    elif what == "memory":
        LEFT.append(bytearray(1500 << 20))
    elif what == "descriptors":
        LEFT.extend(os.dup(1) for _ in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 20))
    return what


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
def close_output(how: str) -> str:
    """Close its standard output, or put something else in its place."""
    if how == "descriptor":
        os.close(1)
    elif how == "file":
        sys.stdout.close()
    else:
        sys.stdout = {"none": None, "memory": io.StringIO(), "broken": BrokenStream()}[how]
    return "closed"


class BrokenStream(io.StringIO):
    """A stream that cannot be flushed."""

    def flush(self) -> None:
        """Fail."""
        raise RuntimeError("broken")


@job
def close_all() -> None:
    """Close the socket of its process, too."""
    os.closerange(3, 256)


@job
def write_on_socket() -> None:
    """Write on the socket of its process what is not a frame."""
    for number in range(3, 256):
        try:
            given = socket.socket(fileno=number)
        except OSError:
            continue
        given.sendall(b"nonsense")
        time.sleep(1000)


@job
def fork_and_return() -> str:
    """Return in two processes."""
    return "child" if os.fork() == 0 else "parent"


@job
def leave_a_child(context: Context, how: str) -> str:
    """Return, or end its process, while a child of it runs on that holds all that it has."""
    child = os.fork()
    if not child:
        if how == "apart":
            os.setsid()
        time.sleep(1000)
    context.progress(data=child)
    if how == "return":
        return "left"
    os._exit(3)


@job
def leave_a_thread(context: Context) -> str:
    """Return while a thread goes on to report."""

    def report() -> None:
        while not context.cancelled:
            context.progress(1)

    threading.Thread(target=report, daemon=True).start()
    return "left"


@job
def report_at_once(context: Context) -> str:
    """Report large progress from several threads."""
    threads = [threading.Thread(target=context.progress, kwargs={"data": "x" * 500_000}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "reported"


class Unspeakable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no text")


@job
def odd_errors(which: str) -> None:
    """Raise what is hard to write down."""
    raise {"surrogate": ValueError("\ud800"), "unspeakable": Unspeakable(), "interrupt": KeyboardInterrupt()}[which]


@job
def wrong_progress(context: Context) -> None:
    """Report what is not a number."""
    context.progress(done="half")  # type: ignore[arg-type]


@job
def deadlock() -> None:
    """Wait for itself."""
    lock = threading.Lock()
    with lock, lock:
        pass
