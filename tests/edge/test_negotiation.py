"""Which form of a stream a client asks for."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from service.edge.http.negotiation import answers_event_stream, wants_ndjson, wants_sse

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
