"""JSON is passed on exactly, or refused: numbers that a parser would round, and what UTF-8 cannot carry."""

import json

import orjson
import pytest

from service.core.errors import InvalidParams
from service.core.parsing import _PART, parse


@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551616", "-9223372036854775809", "1e400", "-1e400", '"\\ud800"', '{"\\udc00": 1}',
        "1.0000000000000000000001", "0.1234567890123456789", "12345678901234567890.5", "1234567890123456789e3",
        "1e-400", "1E-0400", "-5.5e-399", '{"a": [0, 4.000000000000000000000004]}', "1.23456789012345678e-310",
    ],
)  # fmt: skip
def test_what_would_be_changed_is_refused(text: str) -> None:
    with pytest.raises(InvalidParams, match="a number that a double cannot hold"):
        parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551615", "-9223372036854775808", "1e308", "0.1", "0.10000000000000001", "1e-300",
        "1.00000000000000000000000", "100000000000000000000.0", "0.0000000000000000000001", "0e-400", "0.0E-999",
        "0.1000000000000000055511151231257827021181583404541015625", "5e-324", '"1e-400"', '"9e-4123"',
        '"1.0000000000000000000001"',
    ],
)  # fmt: skip
def test_what_stays_as_it_is_is_read(text: str) -> None:
    value = parse(text.encode())
    assert value == json.loads(text)
    assert orjson.loads(orjson.dumps(value)) == value


def test_of_a_name_that_comes_twice_the_last_value_counts() -> None:
    assert parse(b'{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}


@pytest.mark.parametrize("number", [b"12345678901234567890123", b"1e-999"])
def test_a_number_is_found_wherever_a_large_text_has_it(number: bytes) -> None:
    for before in range(_PART - 30, _PART + 5):
        with pytest.raises(InvalidParams):
            parse(b'["%b",%b,"%b"]' % (b"x" * before, number, b"y" * 100))
    assert parse(bytearray(b'["%b",1234567890]' % (b"x" * 3 * _PART)))[1] == 1234567890
