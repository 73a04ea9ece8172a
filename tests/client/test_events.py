"""The events of batches and watches as classes: what the service sends, what it leaves out, and what it may add."""

import dataclasses
from typing import Any

import pytest

from service.client import Done, Failed, Gap, Message, OtherEvent, Progress, Restart, Result, Timing, WatchState
from service.client.events import read_event

TIMING = {"queued": 0.1, "dns": 0, "connect": 0, "first_byte": 2.1, "total": 2.4}
RESULT = {
    "event": "result", "index": 3, "url": "http://a.example/", "final_url": "http://a.example/b", "status": 200,
    "headers": {"content-type": "text/plain"}, "bytes": 2, "truncated": False, "encoding": "utf-8", "body": "hi",
    "attempts": 1, "cache": "miss", "timing": TIMING,
}  # fmt: skip
STATE = {
    "event": "changed", "url": "http://a.example/", "status": 200, "etag": None, "sha256": "0", "encoding": None,
    "body": None, "truncated": False, "checked_at": "2026-11-23T21:00:00.000Z", "changed_at": "2026-11-23T21:00:00.000Z",
}  # fmt: skip


def read(data: Any) -> Any:
    return read_event(Message("batch:b", "e", 1, data))


def test_a_result_has_all_that_was_sent() -> None:
    event = read(RESULT)
    assert isinstance(event, Result)
    assert {**dataclasses.asdict(event), "raw": 0} == {
        **RESULT,
        "headers_truncated": False,
        "steps": None,
        "raw": 0,
    }
    assert event.timing == Timing(**TIMING)
    assert event.raw == RESULT
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.status = 404  # type: ignore[misc]


def test_what_may_be_missing_has_a_value() -> None:
    reported = {"event": "failed", "index": 0, "url": "x", "error": "dns", "detail": "", "attempts": 0}
    event = read(reported)
    assert isinstance(event, Failed)
    assert (event.retry_after, event.timing) == (None, Timing())
    assert read({**reported, "retry_after": 2.5}).retry_after == 2.5
    assert read({**reported, "timing": {"total": 3.0, "later": 1}}).timing == Timing(total=3.0)


def test_steps_and_counts_are_read() -> None:
    counts = {"lines": 1, "keys": 1, "top": [{"key": "a", "count": 1}]}
    stepped = {**RESULT, "steps": [{"step": "digest"}]}
    del stepped["body"], stepped["encoding"]
    event = read(stepped)
    assert isinstance(event, Result)
    assert (event.steps, event.body, event.encoding) == ([{"step": "digest"}], None, None)
    progress = read({"event": "progress", "counts": counts})
    assert isinstance(progress, Progress)
    assert progress.counts == counts
    done = {"event": "done", "total": 1, "ok": 1, "failed": 0, "by_status": {}, "elapsed_ms": 1.5}
    assert read({**done, "counts": counts}).counts == counts


def test_a_field_that_a_later_service_adds_is_in_raw() -> None:
    event = read(
        {"event": "done", "total": 1, "ok": 1, "failed": 0, "by_status": {}, "elapsed_ms": 1.5, "later": 7}
    )
    assert isinstance(event, Done)
    assert event.raw["later"] == 7


@pytest.mark.parametrize("name", ["state", "changed"])
def test_both_kinds_of_a_watchs_state_are_distinguished(name: str) -> None:
    event = read({**STATE, "event": name})
    assert isinstance(event, WatchState)
    assert event.event == name


@pytest.mark.parametrize(
    "data",
    [
        {"event": "progress", "done": 1}, {"event": "result", "index": 3}, {**RESULT, "timing": None}, {**RESULT, "timing": 5},
        {"event": ["result"]}, {"event": None}, {}, [], "text", 5, None,
    ],
)  # fmt: skip
def test_what_is_not_known_breaks_nothing(data: Any) -> None:
    event = read(data)
    assert isinstance(event, OtherEvent)
    assert event.raw == data


def test_what_a_stream_says_of_itself_stays() -> None:
    for value in (Gap(1, 2), Restart("e", 0)):
        assert read_event(value) is value
