"""``select``: all that a selector finds, and the value that a pointer leads to."""

from typing import Any

import orjson
import pytest

from service.core.errors import InvalidParams
from service.work.builtin.select import Select, select
from service.work.opening import import_steps
from service.work.step import Body, StepFailed, plan

import_steps()


def body(data: bytes, content_type: str | None = "text/html") -> Body:
    return Body(data, content_type, "http://here.example/page?x")


def test_select_by_css() -> None:
    page = b"<p>one <b>1</b></p><p>two</p>"
    assert select(body(page), Select(css="p")).fields == {"matches": ["one 1", "two"]}
    assert select(body(page), Select(css="b", html=True)).fields == {"matches": ["<b>1</b>"]}
    assert select(body(page), Select(css="i")).fields == {"matches": []}


def test_markup_of_elements_in_each_other_is_bounded() -> None:
    page = b"<div>" * 50 + b"x" * (1 << 10)
    assert len(select(body(page), Select(css="div div div", html=True)).fields["matches"]) == 48
    with pytest.raises(StepFailed, match="more than 16,777,216 bytes"):
        select(body(b"<div>" * 50 + b"x" * (1 << 20)), Select(css="div", html=True))


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/a/0", b"[12345678901234567890123]"), ("/b", b"[]"), ("", b'[{"a":[12345678901234567890123]}]')],
)
def test_select_by_pointer_keeps_numbers_as_they_are(pointer: str, found: bytes) -> None:
    fields = select(body(b'{"a": [12345678901234567890123]}', "application/json"), Select(pointer=pointer)).fields
    assert orjson.dumps(fields["matches"]) == found


@pytest.mark.parametrize(("data", "content_type"), [(b"{", "application/json"), (b"", "application/json")])
def test_select_by_pointer_of_what_is_not_json(data: bytes, content_type: str) -> None:
    with pytest.raises(StepFailed, match="not JSON|empty"):
        select(body(data, content_type), Select(pointer="/a"))


@pytest.mark.parametrize(
    "given",
    [{}, {"css": ""}, {"css": " "}, {"css": "p," * 2048 + "p"}, {"pointer": "/" + "a" * 4096},
     {"css": "p", "pointer": "/a"}, {"css": "p["}, {"pointer": "a"}, {"pointer": "/~2"}, {"css": "/a"},
     {"pointer": "/a", "html": True}, {"css": "p", "more": 1}],
)  # fmt: skip
def test_select_says_what_does_not_fit(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams, match=r"^steps\[1\]"):
        plan([{"step": "digest"}, {"step": "select", **given}], blobs=False)
