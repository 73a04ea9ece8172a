"""The step runner: in order, each in its place, until one fails; what fails costs its own body alone."""

import asyncio
import base64
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from service.core.errors import LimitReached
from service.core.owner import Owner
from service.work.opening import StepsUnusable, open_steps
from service.work.options import StepOptions
from service.work.step import STEPS, Body, Made, Product, Step, StepFailed, plan
from service.work.step_runner import StepOutcome, StepRunner

OWNER = Owner("somebody")


@asynccontextmanager
async def runner(**options: Any) -> AsyncIterator[StepRunner]:
    steps = await open_steps(StepOptions(**options))
    try:
        yield steps
    finally:
        await steps.close()


async def run(steps: StepRunner, given: Any, data: bytes, kind: str | None = "text/html") -> StepOutcome:
    planned = plan(given, blobs=steps.blobs is not None)
    return await steps.run(planned, Body(data, kind, "http://a.example/"), OWNER)


async def test_each_step_gives_way_before_it_begins() -> None:
    async with runner() as steps:
        asked = list[int]()

        def busy() -> bool:
            asked.append(len(asked))
            return len(asked) < 3

        steps.gives_way.busy = busy
        outcome = await run(steps, [{"step": "digest"}, {"step": "select", "css": "p"}], b"<p>one</p>")
    assert outcome.failed is None
    assert len(asked) == 4, "three times before the first step, once before the second"


class Nothing(msgspec.Struct):
    """It has no parameters."""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    def add(name: str, function: Any) -> None:
        monkeypatch.setitem(STEPS, name, Step(name, Nothing, "thread", function))

    return add


async def test_steps_run_in_order_each_in_its_place() -> None:
    async with runner() as steps:
        page = b'<p>one</p><a href="/b">'
        outcome = await run(steps, [{"step": "digest"}, {"step": "select", "css": "p"}, {"step": "links"}], page)
    assert outcome.failed is None
    assert [orjson.loads(one) for one in outcome.results] == [
        {"step": "digest", "algorithm": "sha256", "hex": hashlib.sha256(page).hexdigest(), "bytes": len(page)},
        {"step": "select", "matches": ["one"]},
        {"step": "links", "links": ["http://a.example/b"]},
    ]


async def test_a_step_that_fails_is_the_last_and_what_went_before_stays() -> None:
    async with runner() as steps:
        given = [{"step": "digest"}, {"step": "thumbnail", "width": 1, "height": 1}, {"step": "links"}]
        outcome = await run(steps, given, b"<p>")
    assert (outcome.failed, len(outcome.results)) == ("thumbnail", 1)
    assert "not a picture" in outcome.detail
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.temporary) == ("step_failed", False)


async def test_a_bug_in_a_step_is_logged_and_its_text_does_not_leave(register: Any, caplog: Any) -> None:
    def bug(body: Body, parameters: Nothing) -> Made:
        raise KeyError("secret")

    register("bug", bug)
    async with runner() as steps:
        outcome = await run(steps, [{"step": "bug"}], b"")
        assert (await run(steps, [{"step": "digest"}], b"")).failed is None
    assert outcome.failed == "bug"
    assert "secret" not in outcome.detail
    assert "secret" in caplog.text


async def test_one_that_is_refused_says_why(register: Any) -> None:
    def refuse(body: Body, parameters: Nothing) -> Made:
        raise StepFailed("not today")

    register("refuse", refuse)
    async with runner() as steps:
        assert await run(steps, [{"step": "refuse"}], b"") == StepOutcome((), "refuse", "not today")


async def test_a_thread_that_takes_too_long_fails_its_own_body(register: Any) -> None:
    go_on = threading.Event()

    def wait(body: Body, parameters: Nothing) -> Made:
        go_on.wait(60)
        return Made()

    register("wait", wait)
    async with runner(time=0.2) as steps:
        try:
            outcome = await run(steps, [{"step": "wait"}], b"")
            assert (outcome.failed, outcome.detail) == ("wait", "took longer than 0.2 s")
            steps._step_time = 30.0  # on a busy machine any step may take longer than 0.2 s
            assert (await run(steps, [{"step": "digest"}], b"")).failed is None
        finally:
            go_on.set()


async def test_where_no_thread_can_be_started_a_step_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with runner() as steps:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            outcome = await run(steps, [{"step": "digest"}], b"")
        assert (await run(steps, [{"step": "digest"}], b"")).failed is None
    why = "a thread cannot be started: the machine's limit is reached"
    assert (outcome.failed, outcome.detail, caplog.records) == ("digest", why, [])


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_threads_that_hang_keep_their_places_so_that_the_others_wait_and_do_not_pile_up(
    register: Any,
) -> None:
    go_on, started = threading.Event(), threading.Semaphore(0)
    running = 0

    def wait(body: Body, parameters: Nothing) -> Made:
        nonlocal running
        running += 1
        started.release()
        go_on.wait(60)
        return Made()

    register("wait", wait)
    async with runner(time=0.2) as steps:
        try:
            outcomes = await asyncio.gather(*(run(steps, [{"step": "wait"}], b"") for _ in range(20)))
            assert {outcome.failed for outcome in outcomes} == {"wait"}
            for _ in range(8):  # on a busy machine a thread may start after its step has failed
                assert await asyncio.to_thread(started.acquire, timeout=30)
            assert running == 8
        finally:
            go_on.set()


async def test_without_blobs_a_product_is_in_its_result() -> None:
    async with runner() as steps:
        outcome = await run(steps, [{"step": "thumbnail", "width": 2, "height": 2, "format": "png"}], PICTURE, None)
    (result,) = map(orjson.loads, outcome.results)
    assert base64.b64decode(result["data"])[:4] == b"\x89PNG"
    assert result["bytes"] == len(base64.b64decode(result["data"]))
    assert "blob" not in result


async def test_with_blobs_it_is_a_blob(tmp_path: Path) -> None:
    async with runner(blobs=tmp_path) as steps:
        given = [{"step": "save"}, {"step": "thumbnail", "width": 2, "height": 2, "format": "png"}]
        outcome = await run(steps, given, PICTURE, "Image/BMP; x=1")
        saved, thumbnail = map(orjson.loads, outcome.results)
        sha256 = hashlib.sha256(PICTURE).hexdigest()
        assert saved == {
            "step": "save",
            "blob": f"/blobs/{sha256}",
            "sha256": sha256,
            "bytes": len(PICTURE),
            "type": "image/bmp",
        }
        assert "data" not in thumbnail
        assert steps.blobs is not None
        blob = steps.blobs.find(thumbnail["blob"].removeprefix("/blobs/"))
        assert blob is not None
        assert (blob.type, blob.size) == ("image/png", thumbnail["bytes"])


async def test_a_disk_that_is_full_fails_the_step_and_nothing_else(tmp_path: Path, monkeypatch: Any) -> None:
    async with runner(blobs=tmp_path) as steps:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("service.work.blob_files.os.fsync", full)
            outcome = await run(steps, [{"step": "digest"}, {"step": "save"}], b"abc")
        assert (outcome.failed, outcome.detail, len(outcome.results)) == (
            "save",
            "storage: No space left on device",
            1,
        )
        assert outcome.failure is not None
        assert (outcome.failure.kind, outcome.failure.temporary, outcome.failure.step) == ("storage", True, "save")
        assert (await run(steps, [{"step": "save"}], b"abc")).failed is None


async def test_what_waits_for_the_disk_counts_as_time_in_threads(tmp_path: Path, monkeypatch: Any) -> None:
    def slow(descriptor: int) -> None:
        time.sleep(0.02)

    monkeypatch.setattr("service.work.blob_files.os.fsync", slow)
    async with runner(blobs=tmp_path) as steps:
        saved = await run(steps, [{"step": "save"}], b"abc")
        thumbnail = await run(steps, [{"step": "thumbnail", "width": 2, "height": 2}], PICTURE)
    assert min(saved.seconds["thread"], thumbnail.seconds["thread"]) >= 0.04
    assert (saved.seconds["process"], thumbnail.seconds["process"] > 0) == (0, True)


async def test_a_product_that_is_too_large_for_a_result_fails(register: Any) -> None:
    def make(body: Body, parameters: Nothing) -> Made:
        return Made(product=Product(bytes(7 << 20), "a/b"))

    register("make", make)
    async with runner() as steps:
        outcome = await run(steps, [{"step": "make"}], b"")
    assert "more than a result without --blobs may have" in outcome.detail


async def test_the_results_of_a_body_are_bounded_together(register: Any) -> None:
    def long(body: Body, parameters: Nothing) -> Made:
        return Made({"text": "x" * int(body.data)})

    register("long", long)
    async with runner() as steps:
        assert (await run(steps, [{"step": "long"}] * 2, b"%d" % (8_000_000))).failed is None
        for size, kept in ((17_000_000, 0), (8_000_000, 2)):
            outcome = await run(steps, [{"step": "long"}] * 3, b"%d" % size)
            assert (outcome.failed, len(outcome.results)) == ("long", kept)
            assert outcome.detail == "the results have more than 16,777,216 bytes"


async def test_results_count_in_the_memory_for_bodies_until_all_steps_are_over(register: Any) -> None:
    held: list[int] = []

    def look(body: Body, parameters: Nothing) -> Made:
        held.append(steps.pool.held(OWNER))
        return Made({"text": "x" * 10_000})

    register("look", look)
    async with runner() as steps:
        outcome = await run(steps, [{"step": "look"}] * 3, b"")
        assert held[1:] == [held[0] + len(outcome.results[0]), held[0] + 2 * len(outcome.results[0])]
        assert steps.pool.used == 0


async def test_tallies_of_steps_that_are_not_merged_are_left_out(register: Any) -> None:
    register("tally", lambda body, parameters: Made(tally=b"mine"))
    async with runner() as steps:
        outcome = await run(steps, [{"step": "count", "field": 1}, {"step": "tally"}], b"a\n")
        assert outcome.tally == b'[[1,0,0,1],{"a":1}]'


async def test_an_owner_that_has_used_up_its_share_of_memory_is_refused_by_name(register: Any) -> None:
    go_on = threading.Event()

    def wait(body: Body, parameters: Nothing) -> Made:
        go_on.wait(60)
        return Made()

    register("wait", wait)
    async with runner(bodies=1000) as steps:
        first = asyncio.create_task(run(steps, [{"step": "wait"}], bytes(900)))
        while not steps.pool.used:
            await asyncio.sleep(0)
        with pytest.raises(LimitReached, match="limit step_bytes"):
            steps.check(OWNER, 900)
        go_on.set()
        await first
        assert steps.pool.used == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module_at_all", "No module named"),
        ("1 /", "SyntaxError"),
        ("raise RuntimeError('x\\ny')", "RuntimeError: x y"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
async def test_a_module_that_cannot_be_imported_is_one_clear_line(
    tmp_path: Path, monkeypatch: Any, text: str, says: str
) -> None:
    (tmp_path / "broken_steps.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StepsUnusable, match="--steps broken_steps: cannot be imported") as raised:
        await open_steps(StepOptions(modules=("broken_steps",)))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_blobs_that_cannot_be_opened_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepsUnusable, match="--blobs .*: "):
        await open_steps(StepOptions(blobs=tmp_path / "file"))
    async with runner(blobs=tmp_path / "new"):
        with pytest.raises(StepsUnusable, match="another service uses this directory"):
            await open_steps(StepOptions(blobs=tmp_path / "new"))


PICTURE = (
    b"BM:\0\0\0\0\0\0\x006\0\0\0(\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    b"\xff\x80\x00\0"
)
"""A BMP of one pixel."""
