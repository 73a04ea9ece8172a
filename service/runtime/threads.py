"""Threads for what would block the loop, where a limit of processes or of address space may forbid new ones."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

__all__ = ["NO_THREAD", "ThreadUnavailable", "call_in_thread", "needing_threads", "started_thread"]

T = TypeVar("T")
NO_THREAD: Final = "can't start new thread"
"""Python's words for a limit that is reached."""


class ThreadUnavailable(Exception):
    """No thread can be started now; the text is one line."""


def call_in_thread(
    threads: ThreadPoolExecutor | None, function: Callable[..., T], *arguments: object
) -> asyncio.Future[T]:
    """Have a thread call a function, without ``threads`` one of the loop's; raises ThreadUnavailable.

    Even then the call stays in the queue: a thread that is busy now may still make it, and its result is lost.
    """
    with needing_threads():
        return asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


@contextmanager
def needing_threads() -> Iterator[None]:
    """Raise ThreadUnavailable where a thread that the block needs cannot be started."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        raise ThreadUnavailable("a thread cannot be started: the machine's limit is reached") from error


def started_thread(name: str) -> ThreadPoolExecutor:
    """Return one thread that runs already, for work that has to go on where no thread can be started later."""
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)
    thread.submit(int)
    return thread
