"""Topic names have one shape, and some belong to the service."""

import pytest

from service.core.errors import Forbidden, InvalidParams
from service.core.topics.names import check_name, check_writable, is_reserved


@pytest.mark.parametrize("name", ["a", "room/1", "~", "!", "x" * 255, "a:b", "a+b)"])
def test_printable_ascii_is_a_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 256, "a b", "a*", "é", "a\n", "a\x7f", "\x00"])
def test_anything_else_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidParams, match="^topic: "):
        check_name(name)


@pytest.mark.parametrize("name", ["batch:1", "watch:x", "job:2", "_stats"])
def test_reserved_names_are_written_by_the_service_alone(name: str) -> None:
    assert is_reserved(name)
    with pytest.raises(Forbidden):
        check_writable(name)


def test_a_plain_name_may_be_written() -> None:
    check_writable("news")
