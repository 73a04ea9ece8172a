"""The account of a batch: what a wrong service says of it is an error, and counts for nothing."""

from typing import Any

import pytest

from loadtest.batch import BatchAccount
from loadtest.tally import Tally

URLS = [f"http://o/{number}" for number in range(3)]


def result(index: int, url: str = "", **more: Any) -> dict[str, Any]:
    return {
        "event": "result", "index": index, "url": url or URLS[index], "status": 200, "cache": "miss", "timing": {"total": 5}, **more,
    }  # fmt: skip


DONE = {"event": "done", "total": 3, "ok": 3, "failed": 0}


def account(*events: dict[str, Any]) -> tuple[Tally, BatchAccount]:
    tally = Tally()
    batch = BatchAccount(tally, URLS, 0.0)
    for event in events:
        batch.add(event)
    batch.close()
    return tally, batch


def test_each_index_once_and_done_last_is_right() -> None:
    tally, batch = account(result(2), result(0), result(1), DONE)
    assert (batch.results, dict(tally.errors), tally.counters["missing"]) == (3, {}, 0)


@pytest.mark.parametrize(
    ("wrong", "said", "missing"),
    [
        (result(-1, URLS[1]), "an index or a URL that was not asked for", 1),
        (result(3, URLS[1]), "an index or a URL that was not asked for", 1),
        (result(1, URLS[0]), "an index or a URL that was not asked for", 1),
        (result(0), "an index twice", 1),
        ({"event": "result"}, "an event that makes no sense", 1),
        ({"event": "result", "index": "1"}, "an event that makes no sense", 1),
        ({"event": "failed", "index": 1, "url": URLS[1], "error": "dns"}, "fetch: dns", 0),
    ],
)
def test_what_is_wrong_with_an_event_is_said(wrong: dict[str, Any], said: str, missing: int) -> None:
    tally, _ = account(result(0), result(2), wrong, DONE)
    assert any(said in text for text in tally.errors), tally.errors
    assert tally.counters["missing"] == missing


@pytest.mark.parametrize("end", [[], [{**DONE, "ok": 2}], [{**DONE, "ok": 2, "failed": 2}]])
def test_a_batch_without_the_right_end_is_wrong(end: list[dict[str, Any]]) -> None:
    tally, _ = account(result(0), result(1), result(2), *end)
    assert tally.errors == {"no done with the right counts": 1}


def test_what_comes_after_the_end_is_wrong() -> None:
    tally, _ = account(result(0), result(1), result(2), DONE, result(2))
    assert tally.errors["an event after done"] == 1
