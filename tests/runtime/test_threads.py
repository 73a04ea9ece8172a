"""Threads where none can be started: one that runs already goes on, and what needs a new one says so."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.runtime.threads import ThreadUnavailable, call_in_thread, started_thread


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    return monkeypatch


async def test_one_that_runs_already_goes_on(request: pytest.FixtureRequest) -> None:
    thread = started_thread("test")
    request.getfixturevalue("no_threads")
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
