"""Which form of a stream a client asks for."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from service.core.errors import InvalidParams
from service.edge.http.answers import answers_event_stream, prefers_async, wants_ndjson, wants_sse
from service.edge.http.request_body import requested_key

S, N = "text/event-stream", "application/x-ndjson"


@pytest.mark.parametrize(
    ("lines", "sse", "ndjson"),
    [
        ([], False, False), (["*/*"], False, False), (["application/json"], False, False),
        ([S], True, False), (["Text/Event-Stream"], True, False), ([f" {S} ; charset=utf-8"], True, False),
        ([N], False, True), ([N.upper()], False, True), (["text/html", S], True, False), (["*/*", N], False, True),
        ([f"{S};q=0"], False, False), ([f"{S};q=0, {N}"], False, True), ([f"{S};q=0.5, {N};q=0.9"], False, True),
        ([f"{S};Q=0.9, {N};q=0.5"], True, False), ([f"{S}, {N}"], True, False), (["text/event-streams"], False, False),
        ([f"{S};q=x"], True, False), (["application/json", f"{N};q=0.1"], False, True),
    ],
)  # fmt: skip
def test_what_is_asked_for_by_name(lines: list[str], sse: bool, ndjson: bool) -> None:
    headers = CIMultiDict([("Accept", line) for line in lines])
    request = make_mocked_request("GET", "/", headers=headers)
    assert (wants_sse(request), wants_ndjson(request)) == (sse, ndjson)
    assert answers_event_stream(request) is (sse or ndjson)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False), (["respond-async"], True), (["Respond-Async, wait=5"], True), (["wait=5", "respond-async"], True),
        (["handling=lenient,respond-async; x=1"], True), (["no-respond-async"], False), (['x="respond-async"'], False),
    ],
)  # fmt: skip
def test_who_would_rather_not_wait(lines: list[str], expected: bool) -> None:
    headers = CIMultiDict([("Prefer", line) for line in lines])
    assert prefers_async(make_mocked_request("POST", "/", headers=headers)) is expected


def test_two_keys_of_one_request_are_refused() -> None:
    def asked(*keys: str) -> str | None:
        headers = CIMultiDict([("Idempotency-Key", key) for key in keys])
        return requested_key(make_mocked_request("POST", "/", headers=headers))

    assert [asked(), asked("a"), asked("a", "a")] == [None, "a", "a"]
    for wrong in (("a", "b"), ("",), ("k" * 129,)):
        with pytest.raises(InvalidParams, match="Idempotency-Key"):
            asked(*wrong)
