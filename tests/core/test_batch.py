"""What a batch may ask for, and how it is counted."""

from typing import Any

import msgspec
import orjson
import pytest

from service.core.errors import InvalidParams, SluiceError
from service.core.fetching.batch import (
    Batch,
    BatchLimits,
    BatchRequest,
    Keep,
    check_request,
    failed_event,
    item_of,
)
from service.core.fetching.headers import check_headers
from service.core.fetching.outcome import Failure
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import SERVICE
from service.core.parsing import convert
from service.core.topics.topic import OnLag, Topic
from tests.core.listeners import FakeListener
from tests.core.readers import FakeReader
from tests.core.test_plan import batch_of

LIMITS = BatchLimits()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({}, "urls"),
        ({"urls": [], "requests": []}, "one of them"),
        ({"urls": []}, "at least one"),
        ({"urls": ["http://x/"] * 10_001}, "10001"),
        ({"urls": "http://x/"}, "urls"),
        ({"urls": [1]}, "urls"),
        ({"urls": ["http://x/"], "more": 1}, "more"),
        ({"requests": [{"method": "GET"}]}, "url"),
        ({"urls": ["http://x/"], "options": {"timeout": 0}}, "timeout"),
        ({"urls": ["http://x/"], "options": {"retries": 1000}}, "retries"),
        ({"urls": ["http://x/"], "options": {"concurrency": 0}}, "concurrency"),
        ({"urls": ["http://x/"], "options": {"body": "xml"}}, "body"),
        ({"urls": ["http://x/"], "options": {"method": "POST"}}, "method"),
        ({"urls": ["http://x/"], "options": {"headers": {"Host": "evil"}}}, "Host"),
        ({"urls": ["http://x/"], "options": {"unknown": 1}}, "unknown"),
    ],
)
def test_a_wrong_batch_is_refused_whole_and_the_field_is_named(value: Any, named: str) -> None:
    with pytest.raises(SluiceError) as refused:
        check_request(convert(value, BatchRequest), LIMITS)
    assert named in refused.value.detail


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
        {"Proxy-Authorization": "x"},
        {"Proxy": "http://evil.example"},
        {"Transfer_Encoding": "chunked"},
        {"CONTENT_LENGTH": "1"},
        {"proxy_authorization": "x"},
        {"Metadata.Flavor": "Google"},
        {"X_aws-ec2_metadata_token": "x"},
        {"Sec_Fetch_Site": "none"},
        {"a b": "x"},
        {"": "x"},
        {"X": "a\r\nY: b"},
        {"X": "a\x00"},
        {"ü": "x"},
        {f"x-{number}": "" for number in range(51)},
    ],
)
def test_headers_that_could_change_the_request_are_refused(headers: dict[str, str]) -> None:
    assert check_headers(headers)


def test_ordinary_headers_pass() -> None:
    assert check_headers({"Accept": "text/html, */*;q=0.1", "X-Token": "a b", "Authorization": "Bearer x"}) is None
    assert check_headers({"X_Token": "x", "Proxies": "x", "Second": "x", "X-Host": "x"}) is None


def test_one_bad_request_among_good_ones_fails_alone() -> None:
    bad = item_of(FetchRequest("http://x/", method="DELETE"), LIMITS)
    assert isinstance(bad, Failure)
    assert bad.kind == "invalid_request"
    assert isinstance(item_of("http://x/", LIMITS), FetchRequest)


def state(total: int) -> Batch:
    urls = [f"http://x/{number}" for number in range(total)]
    return Batch("b", Topic("batch:b", "e", None), SERVICE, Keep.LINGER, urls, Options(), 1.0, FakeListener())


def test_done_counts_the_events_that_were_sent() -> None:
    batch = state(3)
    batch.succeed(0, 200)
    batch.succeed(1, 404)
    assert not batch.complete
    batch.fail(2)
    assert batch.complete
    assert batch.finish(1.5) == {
        "event": "done",
        "total": 3,
        "ok": 2,
        "failed": 1,
        "by_status": {"200": 1, "404": 1},
        "elapsed_ms": 500.0,
    }
    event = failed_event(2, "http://x/2", Failure("dns", "no such name"), 1, {"total": 3.0})
    assert event == {
        "event": "failed",
        "index": 2,
        "url": "http://x/2",
        "error": "dns",
        "detail": "no such name",
        "attempts": 1,
        "timing": {"total": 3.0},
    }


def test_what_waits_is_counted_from_the_reader_that_is_furthest() -> None:
    batch = state(3)
    for number in range(3):
        batch.topic.ring.append(b'"%d"' % number, 0.0)
        batch.sums.append(batch.topic.size)
    assert batch.unread == batch.topic.size
    slow, fast = (FakeReader(batch.topic, OnLag.DISCONNECT) for _ in range(2))
    slow.attach("oldest")
    fast.attach("oldest")
    fast.read()
    assert batch.unread == 0
    fast.detach()
    assert batch.unread == 0, "what was taken once is not owed again"


def test_options_have_bounds() -> None:
    for field in ("max_bytes", "timeout", "retries", "concurrency", "redirects"):
        with pytest.raises((InvalidParams, msgspec.ValidationError)):
            convert({"urls": ["http://x/"], "options": {field: 1 << 40}}, BatchRequest)


def test_one_bad_field_of_one_request_is_named() -> None:
    wrong = item_of(FetchRequest("http://x/", headers={"Host": "y"}), LIMITS)
    assert isinstance(wrong, Failure)
    assert (wrong.kind, wrong.detail[:8]) == ("invalid_request", "headers:")
    right = FetchRequest("http://x/", headers={"Accept": "*/*"})
    assert item_of(right, LIMITS) is right


def test_a_failure_says_when_to_come_back_where_it_knows() -> None:
    times = {"queued": 1.0}
    assert failed_event(0, "u", Failure("unavailable", "d", 2.5), 1, times)["retry_after"] == 2.5
    assert "retry_after" not in failed_event(0, "u", Failure("dns", "d"), 1, times)


def test_what_is_asked_for_is_returned_as_it_came() -> None:
    urls = ["http://x/", "not a url"]
    assert check_request(BatchRequest(urls=urls), LIMITS) is urls
    requests = [FetchRequest("http://x/")]
    assert check_request(BatchRequest(requests=requests), LIMITS) is requests


def test_a_url_is_shown_as_its_sender_wrote_it_and_a_request_weighs_what_it_holds() -> None:
    items: list[Any] = [
        FetchRequest("http://x/"),
        FetchRequest("http://x/", headers={"Accept": "*/*"}, body="x" * 1_000),
    ]
    plain, rich = (batch_of([item]) for item in items)
    assert plain.url(0) == rich.url(0) == batch_of(["http://x/"]).url(0) == "http://x/"
    assert rich.weight - plain.weight == 1_000 + len("Accept*/*") + 200


def test_what_a_log_says_of_a_batch_has_neither_its_whole_id_nor_urls() -> None:
    batch = batch_of(["http://secret.example/"])
    batch.id = "0123456789abcdef"
    assert repr(batch) == "<Batch 012345… 0 ok, 0 failed of 1>"


def test_a_failure_of_a_step_names_it_and_has_what_went_before() -> None:
    failure = Failure("step_failed", "no picture", step="thumbnail", steps=(b'{"step":"digest"}',))
    event = failed_event(1, "u", failure, 1, {})
    assert event["step"] == "thumbnail"
    assert orjson.loads(orjson.dumps(event))["steps"] == [{"step": "digest"}]


@pytest.mark.parametrize(
    ("options", "status", "takes", "mode"),
    [
        (Options(), 200, False, "auto"),
        (Options(steps=[{"step": "digest"}]), 200, True, "none"),
        (Options(steps=[{"step": "digest"}]), 206, False, "auto"),
        (Options(steps=[{"step": "digest"}]), 404, False, "auto"),
        (Options(steps=[{"step": "digest"}], body="text"), 200, True, "text"),
        (Options(body="none"), 200, False, "none"),
    ],
)
def test_steps_are_for_whole_bodies_of_success(options: Options, status: int, takes: bool, mode: str) -> None:
    assert (options.runs_steps(status), options.mode(status)) == (takes, mode)
    assert options.want_body == (options.body != "none")
