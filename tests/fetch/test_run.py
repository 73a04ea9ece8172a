"""One run: every URL ends in one event, even when another one fails to be written."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from service.commands.fetch import run as module
from service.commands.fetch.folder import Folder
from service.commands.fetch.inputs import UrlList
from service.commands.fetch.run import FetchRun
from service.commands.fetch.stepping import BodySteps
from service.commands.fetch.tally import Tally
from service.core.fetching.batch import BatchLimits
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.target import Target, check_url
from service.core.fetching.task import FetchGroup, FetchTask

POLICY = Policy()


class Lines:
    """What an Output is to a run."""

    def __init__(self) -> None:
        self.waiting = 0
        self.error: OSError | None = None
        self.events: list[dict[str, Any]] = []

    def put(self, pieces: Any, size: int) -> None:
        self.events += map(orjson.loads, pieces)


class Engine:
    """A runner that tells of every URL what ``tell`` does, as soon as it is added."""

    tell: Callable[[FetchGroup, int, FetchTask], None]

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def add(self, asker: FetchGroup) -> None:
        for index, url in enumerate(asker.items):
            assert isinstance(url, str)
            target = check_url(url, POLICY)
            assert isinstance(target, Target)
            Engine.tell(asker, index, FetchTask(asker, index, FetchRequest(url), target, None, attempts=1))

    def cancel(self, asker: FetchGroup) -> None:
        pass

    async def close(self) -> None:
        pass


class Saver(Folder):
    """A folder that fails for chosen URLs and saves the others."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def save(self, url: str, *_: Any) -> str:
        if self.error is not None:
            raise self.error
        return "h/file"


def fetched(work: FetchTask, status: int = 200, **headers: str) -> Fetched:
    return Fetched(status, work.target, headers, b"body", False)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(module, "Runner", Engine)
    Engine.tell = lambda asker, index, work: asker.listener.succeeded(asker, work, fetched(work), 0.0, shared=False)
    return Engine


@asynccontextmanager
async def running(
    *urls: str, folder: Any = None, whole: dict[int, str] | None = None
) -> AsyncIterator[tuple[FetchRun, Lines, Tally]]:
    listed = UrlList("list")
    for line, url in enumerate(urls, 1):
        listed.add(url, line)
    lines, tally = Lines(), Tally(len(urls))
    run = FetchRun(listed, Options(), folder, whole or {}, lines, tally, BodySteps())  # type: ignore[arg-type]
    await run.run(POLICY, BatchLimits())
    yield run, lines, tally


A, B, C = "http://h.example/a", "http://h.example/b", "http://h.example/c"


async def test_copies_are_reported_and_counted(engine: type[Engine]) -> None:
    async with running(A, B, A + "#x", C, A, whole={3: "h/c"}) as (_, lines, tally):
        reported = sorted(
            (event["index"], event["event"], event["url"], event.get("cache")) for event in lines.events
        )
        assert reported == [
            (0, "result", A, "miss"),
            (1, "result", B, "miss"),
            (2, "result", A + "#x", "shared"),
            (3, "skipped", C, None),
            (4, "result", A, "shared"),
        ]
        assert (tally.answered, tally.skipped, tally.bytes) == (4, 1, 8)


async def test_an_event_that_cannot_be_written_fails_its_url_alone(
    engine: type[Engine], caplog: pytest.LogCaptureFixture
) -> None:
    def tell(asker: FetchGroup, index: int, work: FetchTask) -> None:
        asker.listener.succeeded(
            asker, work, fetched(work, name="r\udce9n" if index == 1 else "x"), 0.0, shared=False
        )

    engine.tell = tell
    async with running(A, B, C, B) as (_, lines, tally):
        assert sorted((event["index"], event["event"]) for event in lines.events) == [
            (0, "result"), (1, "failed"), (2, "result"), (3, "failed")
        ]  # fmt: skip
        assert [event["line"] for event in lines.events if event["event"] == "failed"] == [2, 4]
        assert (tally.answered, tally.failed) == (2, 2)
        assert f"internal error with '{B}'" in caplog.text


async def test_a_failure_that_cannot_be_written_is_reported_in_other_words(engine: type[Engine]) -> None:
    failure = Failure("protocol", "said r\udce9n")
    engine.tell = lambda asker, index, work: asker.listener.failed(asker, index, failure, 1, {})
    async with running(A, B) as (_, lines, tally):
        assert [event["event"] for event in lines.events] == ["failed"] * 2
        assert tally.failed == 2


async def test_nothing_that_can_be_written_counts_all_the_same(
    engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(FetchRun, "_emit", broken)
    async with running(A, B) as (_, lines, tally):
        assert (lines.events, tally.failed) == ([], 2)


async def test_a_url_that_is_reported_twice_counts_once(engine: type[Engine]) -> None:
    def tell(asker: FetchGroup, index: int, work: FetchTask) -> None:
        asker.listener.failed(asker, index, Failure("timeout", "late"), 1, {})
        asker.listener.succeeded(asker, work, fetched(work), 0.0, shared=False)
        asker.listener.failed(asker, index, Failure("timeout", "late"), 1, {})

    engine.tell = tell
    async with running(A, B) as (_, lines, tally):
        assert [event["event"] for event in lines.events] == ["failed"] * 2
        assert (tally.failed, tally.answered) == (2, 0)


async def test_an_engine_that_forgets_urls_is_not_waited_for(engine: type[Engine]) -> None:
    engine.tell = lambda asker, index, work: None
    async with running(A, B) as (run, lines, tally):
        assert tally.failed == 2
        assert all("internal error" in event["detail"] for event in lines.events)
        assert run.stopped == ""


async def test_lines_that_cannot_be_written_stop_the_run(engine: type[Engine]) -> None:
    def tell(asker: FetchGroup, index: int, work: FetchTask) -> None:
        lines = asker.listener._lines  # type: ignore[attr-defined]
        lines.error = BrokenPipeError(errno.EPIPE, "gone")

    engine.tell = tell
    async with running(A, B) as (run, _, tally):
        assert run.stopped
        assert tally.done == 0


@pytest.mark.parametrize(
    ("error", "kind", "stopped"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "unavailable",
            "cannot save any more files: No space left on device",
        ),
        (OSError(errno.EACCES, os.strerror(errno.EACCES), "h"), "unavailable", ""),
        (RuntimeError("bug"), "protocol", ""),
    ],
)
async def test_what_cannot_be_saved_fails_and_a_full_disk_ends_it(
    engine: type[Engine], error: BaseException, kind: str, stopped: str
) -> None:
    urls = [f"http://h.example/{number}" for number in range(12)]
    async with running(*urls, folder=Saver(error)) as (run, lines, tally):
        assert run.stopped == stopped
        assert {event["error"] for event in lines.events} == {kind}
        assert tally.failed == 12


async def test_what_was_saved_says_where(engine: type[Engine]) -> None:
    async with running(A, folder=Saver()) as (_, lines, _tally):
        assert lines.events == [{**lines.events[0], "file": "h/file", "body": None}]
