"""Parameters become the type that declares them, or are refused by name."""

from typing import Any

import msgspec
import pytest

from service.core.errors import InvalidParams
from service.core.parsing import convert


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some parameters."""

    count: int = 0
    options: dict[str, int] = {}
    data: Any = None


def test_whole_floats_are_integers_but_for_what_clients_pass_on() -> None:
    found = convert({"count": 2.0, "options": {"a": 3.0}, "data": {"b": 4.0}}, Wanted)
    assert (found.count, found.options) == (2, {"a": 3})
    assert msgspec.json.encode(found.data) == b'{"b":4.0}'


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ([], "params: an object with named parameters"),
        ({"count": "x"}, "count: Expected `int`, got `str`"),
        ({"count": 2.5}, "count: Expected `int`, got `float`"),
        ({"options": {"a": None}}, "options[...]: Expected `int`, got `null`"),
        ({"other": 1}, "Object contains unknown field `other`"),
    ],
)
def test_a_wrong_parameter_is_named(given: Any, detail: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        convert(given, Wanted)
    assert caught.value.detail == detail
