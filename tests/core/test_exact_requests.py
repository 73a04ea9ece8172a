"""Requests in JSON: what is not JSON, too deep or inexact is separated from the rest, and each keeps its id."""

import sys

import pytest

from service.core.errors import ParseError, TooLarge
from service.core.parsing import check_exact, id_in, parse, parse_requests

DEEP = b"[" * 2_000 + b"]" * 2_000
DEEPER = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"-Infinity", b'"\xff"'])
def test_text_that_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ParseError, match="not JSON"):
        parse(text)


@pytest.mark.parametrize("text", [DEEP, DEEPER])
def test_what_is_nested_too_deeply_is_refused(text: bytes) -> None:
    with pytest.raises(TooLarge, match="nested too deeply"):
        parse(text)


def test_where_the_standard_library_reads_deeper_than_orjson_it_is_refused_all_the_same() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        with pytest.raises(TooLarge, match="nested too deeply"):
            parse(DEEP)
    finally:
        sys.setrecursionlimit(before)


def test_a_value_that_is_too_deep_to_encode_is_not_called_inexact() -> None:
    value: list[object] = []
    for _ in range(2_000):
        value = [value]
    check_exact(value)


def test_requests_that_are_inexact_are_returned_with_an_id_that_an_answer_can_carry() -> None:
    value, exact = parse_requests(b'[{"id":"a","n":1e400},{"id":"\\ud83d"},{"id":7},"\\ud83d"]')
    assert not exact
    assert [item["id"] for item in value[:1]] == ["a"]
    assert not isinstance(value[1]["id"], str)
    assert value[2] == {"id": 7}
    assert parse_requests(b'{"id":1}') == ({"id": 1}, True)
    assert parse_requests(b'{"id":1,"n":1e400}')[0]["id"] == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"params":{"id":1},"id":7}', 7),
        (b'{"params":[[["id"]]],"id":"a\\"b"}', 'a"b'),
        (b'{"id":-1.5e3}', -1500.0),
        (b'{"id":1.2.3}', None),
        (b'{"id":null}', None),
        (b'[{"id":1}]', None),
        (b"{}", None),
    ],
)
def test_the_id_of_a_request_that_is_too_deep_is_found_at_its_top(text: bytes, found: object) -> None:
    assert id_in(text) == found
