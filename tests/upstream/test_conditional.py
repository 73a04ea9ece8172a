"""Validators that are sent back, and what the answer to a poll means."""

import pytest

from service.core.fetching.outcome import Failure, Fetched
from service.sources.conditional import conditions_for, meaning_of
from tests.upstream.servers import policy_for, target_of

DATE = "Sat, 29 Oct 1994 19:43:31 GMT"
TARGET = target_of("http://127.0.0.1:8080/", policy_for(8080))


@pytest.mark.parametrize(
    ("etag", "sent"),
    [
        ('"1"', True), ('W/"1"', True), ("1", True), ('"\xe2\x82\xac1"', True), ('"a b"', True), ('""', True),
        ('"' + "x" * 4000 + '"', True),
        ('"' + "x" * 5000 + '"', False), ('"\u20ac1"', False), ('"\udce9"', False), ('"a\x01"', False), ("*", False),
        ("", False), (" ", False), ('"a\nb"', False),
    ],
)  # fmt: skip
def test_an_etag_that_can_be_sent_back_is(etag: str, sent: bool) -> None:
    assert conditions_for({"etag": etag}) == ({"If-None-Match": etag} if sent else {})


@pytest.mark.parametrize(
    ("date", "sent"),
    [
        (DATE, True), ("Saturday, 29-Oct-94 19:43:31 GMT", True), ("Sat Oct 29 19:43:31 1994", True),
        ("Sa, 1. M\xe4rz 2026", False), ("0", False), ("", False), ("yesterday", False),
        ("Sat, 99 Oct 1994 19:43:31 GMT", False), (f"{DATE}, {DATE}", False), (DATE + " " * 50 + "x", False),
    ],
)  # fmt: skip
def test_a_date_that_is_one_is_sent_back(date: str, sent: bool) -> None:
    assert conditions_for({"last-modified": date}) == ({"If-Modified-Since": date} if sent else {})


def test_of_two_validators_the_one_that_can_be_sent_is() -> None:
    assert conditions_for({"etag": '"\u20ac"', "last-modified": DATE}) == {"If-Modified-Since": DATE}
    assert conditions_for({}) == {}


@pytest.mark.parametrize(
    ("status", "headers", "conditions", "meaning"),
    [
        (200, {}, None, "state"), (200, {}, {"If-None-Match": '"1"'}, "state"),
        (204, {}, None, "state"), (404, {}, {"If-None-Match": '"1"'}, "state"), (301, {}, None, "state"),
        (304, {"etag": '"1"'}, {"If-None-Match": '"1"'}, "unchanged"),
        (304, {}, {"If-None-Match": '"1"'}, "unchanged"),
        (304, {"etag": 'W/"1"'}, {"If-None-Match": '"1"'}, "unchanged"),
        (304, {"etag": '"1"'}, {"If-None-Match": 'W/"1"'}, "unchanged"),
        (304, {"etag": '"2"'}, {"If-Modified-Since": DATE}, "unchanged"),
        (304, {"etag": '"2"'}, {"If-None-Match": '"1"'}, "repeat"),
        (400, {}, {"If-None-Match": '"1"'}, "repeat"), (400, {}, None, "state"),
        (412, {}, {"If-None-Match": '"1"'}, "repeat"), (416, {}, {"If-None-Match": '"1"'}, "repeat"),
        (431, {}, {"If-None-Match": '"1"'}, "repeat"), (416, {}, None, "state"),
    ],
)  # fmt: skip
def test_what_a_status_means(
    status: int, headers: dict[str, str], conditions: dict[str, str] | None, meaning: str
) -> None:
    assert meaning_of(Fetched(status, TARGET, headers, b"", truncated=False), conditions, TARGET.url) == meaning


@pytest.mark.parametrize(
    ("status", "conditions", "kind"),
    [
        (304, None, "protocol"), (206, None, "protocol"), (206, {"If-None-Match": '"1"'}, "protocol"),
        (500, None, "unavailable"), (503, {"If-None-Match": '"1"'}, "unavailable"), (429, None, "unavailable"),
        (408, None, "unavailable"), (599, None, "unavailable"),
    ],
)  # fmt: skip
def test_what_says_nothing_of_the_resource(status: int, conditions: dict[str, str] | None, kind: str) -> None:
    failure = meaning_of(Fetched(status, TARGET, {}, b"", truncated=False), conditions, TARGET.url)
    assert isinstance(failure, Failure)
    assert failure.kind == kind
    assert str(status) in failure.detail


def test_a_request_that_is_refused_for_its_conditions_is_made_without() -> None:
    invalid, broken = Failure("invalid_request", "x"), Failure("connect", "x")
    assert meaning_of(invalid, {"If-None-Match": "x"}, TARGET.url) == "repeat"
    assert meaning_of(invalid, None, TARGET.url) is invalid
    assert meaning_of(broken, {"If-None-Match": "x"}, TARGET.url) is broken


def test_a_304_of_another_resource_confirms_nothing() -> None:
    answer = Fetched(304, TARGET, {"etag": '"1"'}, b"", truncated=False)
    assert meaning_of(answer, {"If-None-Match": '"1"'}, "http://elsewhere.example/") == "repeat"
