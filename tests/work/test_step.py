"""Lists of steps: what fits, and what is said of what does not."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from service.core.errors import InvalidParams
from service.work.opening import import_steps
from service.work.step import STEPS, Body, Made, Product, plan, schema_of, step

import_steps()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"step": "digest"}, "steps: is a list"),
        ([], "1 to 16"),
        ([{"step": "digest"}] * 17, "1 to 16, not 17"),
        (["digest"], r"steps\[0\]: is an object"),
        ([{"step": 1}], r"steps\[0\]: is an object"),
        ([{"step": "nothing"}], r"steps\[0\]\.step: 'nothing' is not one of count, digest, links"),
        ([{"step": "digest", "algorithm": "crc"}], r"steps\[0\]: .*crc"),
        ([{"step": "digest", "more": 1}], r"steps\[0\]: .*more"),
        ([{"step": "thumbnail", "width": 10}], r"steps\[0\]: .*height"),
        ([{"step": "thumbnail", "width": 0, "height": 1}], r"steps\[0\]: .*>= 1"),
        ([{"step": "save"}], r"steps\[0\]: save needs --blobs DIR"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_and_says_where(given: Any, says: str) -> None:
    with pytest.raises(InvalidParams, match=says):
        plan(given, blobs=False)


def test_parameters_that_no_datagram_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "words", replace(STEPS["links"], name="words", parameters=Words))
    assert plan([{"step": "words", "words": ["w" * 60_000]}], blobs=False)
    with pytest.raises(InvalidParams, match=r"^steps\[0\]: the parameters have more than 65,536 bytes$"):
        plan([{"step": "words", "words": ["w" * 1000] * 66}], blobs=False)


class Words(msgspec.Struct):
    """Of a step that takes texts of any length."""

    words: list[str]


def test_a_step_whose_extra_is_not_installed_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "thumbnail", replace(STEPS["thumbnail"], imports="no_such_module"))
    with pytest.raises(InvalidParams, match=r"needs the extra images: install sluice\[images\]"):
        plan([{"step": "thumbnail", "width": 1, "height": 1}], blobs=False)


def test_each_step_has_a_schema_of_its_parameters() -> None:
    assert set(STEPS) >= {"digest", "links", "save", "select", "thumbnail"}
    thumbnail = schema_of(STEPS["thumbnail"].parameters)
    assert set(thumbnail["required"]) == {"width", "height"}
    assert schema_of(STEPS["digest"].parameters)["properties"]["algorithm"]["default"] == "sha256"


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        (Product, {"data": "text", "type": "text/plain"}, "data of a product are bytes, not str"),
        (Product, {"data": b"", "type": 5}, "the type of a product is a text, not int"),
        (Made, {"tally": "1"}, "a tally is bytes, not str"),
    ],
    ids=["data", "type", "tally"],
)
def test_what_a_step_makes_is_checked_where_it_is_made(kind: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        kind(**given)


class Inner(msgspec.Struct):
    """A part of parameters."""

    value: int = 0


class Outer(msgspec.Struct):
    """Parameters with parts."""

    one: Inner | None = None
    more: "list[Outer]" = []


def test_a_schema_has_what_it_refers_to() -> None:
    schema = schema_of(Outer)
    assert schema["properties"]["more"]["items"] == {"$ref": "#/$defs/Outer"}
    assert schema["$defs"]["Inner"]["properties"]["value"]["default"] == 0
    assert "$defs" not in schema_of(Inner)


class Complex(msgspec.Struct):
    """What JSON does not have."""

    value: complex = 0j


async def coroutine(body: Body, parameters: Inner) -> Made:
    return Made()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": 5}, "the name of a step is a text that can be read, not 5"),
        ({"name": "a\n"}, "the name of a step is a text"),
        ({"runs": "loop"}, "step mine: runs is thread or process, not 'loop'"),
        ({"parameters": dict}, "step mine: the parameters are a msgspec.Struct"),
        ({"parameters": Complex}, "complex"),
        ({"function": coroutine}, "step mine: a coroutine function"),
    ],
    ids=["name", "unreadable", "place", "parameters", "types", "coroutine"],
)
def test_what_cannot_be_a_step_is_refused_where_it_is_registered(given: dict[str, Any], says: str) -> None:
    def register(name: Any, parameters: Any, runs: Any, function: Any) -> None:
        step(name, parameters, runs=runs)(function)

    usual = {"name": "mine", "parameters": Inner, "runs": "thread", "function": STEPS["digest"].function}
    before = dict(STEPS)
    with pytest.raises(TypeError, match=says):
        register(**{**usual, **given})
    assert before == STEPS


def test_a_name_can_be_registered_once() -> None:
    with pytest.raises(ValueError, match="'digest' is registered already"):
        step("digest", STEPS["digest"].parameters, runs="thread")(STEPS["digest"].function)
