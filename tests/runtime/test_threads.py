"""Threads where none can be started: one that runs already goes on, and what needs a new one says so."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.runtime.threads import ThreadUnavailable, call_in_thread, needing_threads, started_thread
from tests.threads import start_no_threads


@pytest.fixture
async def no_threads(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        start_no_threads(patch)
        yield patch


async def test_one_that_runs_already_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = started_thread("test")
    with monkeypatch.context() as patch:
        start_no_threads(patch)
        assert await call_in_thread(thread, divmod, 7, 2) == (3, 1)
    thread.shutdown()


async def test_one_that_is_needed_and_cannot_be_started_is_an_error_of_its_own(
    no_threads: pytest.MonkeyPatch,
) -> None:
    threads = ThreadPoolExecutor(1)
    with pytest.raises(ThreadUnavailable, match="a thread cannot be started"):
        call_in_thread(threads, divmod, 7, 2)
    with pytest.raises(RuntimeError, match="can't start"):
        started_thread("test")
    no_threads.undo()
    assert await call_in_thread(threads, divmod, 7, 2) == (3, 1)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        call_in_thread(threads, divmod, 7, 2)


async def test_the_loops_own_threads_say_so_too(no_threads: pytest.MonkeyPatch) -> None:
    with pytest.raises(ThreadUnavailable, match="a thread cannot be started"):
        call_in_thread(None, divmod, 7, 2)
    with pytest.raises(ThreadUnavailable), needing_threads():
        await asyncio.to_thread(divmod, 7, 2)
    with pytest.raises(RuntimeError, match="^other$"), needing_threads():
        raise RuntimeError("other")
