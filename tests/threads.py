"""A machine on which no thread can be started any more: its limit of processes is reached."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

__all__ = ["start_no_threads"]


def start_no_threads(patch: pytest.MonkeyPatch) -> None:
    """Refuse new threads, and take away those that the loop has already."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", refuse)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
