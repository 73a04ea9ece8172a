"""Ids and traces as W3C Trace Context has them; what is malformed is as good as nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.correlation import Correlation, Trace, parse_request_id, parse_trace

ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GOOD = f"00-{ID}-{PARENT}-01"
SPAN = "00f067aa0ba902b7"


def test_a_child_has_the_trace_and_a_span_of_its_own() -> None:
    trace = parse_trace([GOOD], ["a=1,b=2"])
    assert trace == Trace(ID, PARENT, 1, "a=1,b=2")
    assert trace.child(SPAN) == {"traceparent": f"00-{ID}-{SPAN}-01", "tracestate": "a=1,b=2"}
    assert Correlation("r", trace).log_fields() == {"request_id": "r", "trace_id": ID}
    assert Correlation("r").log_fields() == {"request_id": "r"}


def test_without_state_none_is_sent() -> None:
    trace = parse_trace([GOOD])
    assert trace is not None
    assert trace.child(SPAN) == {"traceparent": f"00-{ID}-{SPAN}-01"}


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [GOOD, GOOD],
        [""],
        [GOOD.upper()],
        [GOOD + "-more"],
        [GOOD + "\n"],
        [f"ff-{ID}-{PARENT}-01"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{ID}-{'0' * 16}-01"],
        [f"00-{ID[1:]}-{PARENT}-01"],
        [f"00-{ID}-{PARENT}-1"],
        [f"00-{ID}-{PARENT}"],
        [f"00-{ID}-{PARENT}-01, {GOOD}"],
        [f"00-{ID[:-1]}\u0661-{PARENT}-01"],
    ],
)
def test_what_is_malformed_counts_as_not_sent(parents: list[str]) -> None:
    assert parse_trace(parents, ["a=1"]) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    trace = parse_trace([f"cc-{ID}-{PARENT}-ff-what-the-future-will-be-like"])
    assert trace == Trace(ID, PARENT, 3)
    assert trace.child(SPAN)["traceparent"] == f"00-{ID}-{SPAN}-03"


@pytest.mark.parametrize(
    ("states", "passed_on"),
    [
        (["a=1", "b=2"], "a=1,b=2"),
        ([" a=1 ,, b=2\t"], "a=1,b=2"),
        (["tenant@system=x y", "a/b*c_d-e=!"], "tenant@system=x y,a/b*c_d-e=!"),
        (["a=1,a=2"], ""),
        (["a=1,B=2"], ""),
        (["a"], ""),
        (["a=1=2"], ""),
        (["a=\x01"], ""),
        ([",".join(f"k{n}=1" for n in range(33))], ""),
        ([f"a={'x' * 200},b={'x' * 200},c={'x' * 200}"], f"a={'x' * 200},b={'x' * 200}"),
    ],
)
def test_a_state_is_passed_on_whole_or_not_at_all_but_for_its_end(states: list[str], passed_on: str) -> None:
    trace = parse_trace([GOOD], states)
    assert trace is not None
    assert trace.state == passed_on


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_nothing_that_is_sent_breaks_a_header(parents: list[str], states: list[str]) -> None:
    for trace in (parse_trace(parents, states), parse_trace([GOOD], states)):
        for value in trace.child(SPAN).values() if trace else ():
            assert value.isascii()
            assert value.isprintable()
            assert len(value) <= 512


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("3fa85f64-5717-4562-b3fc-2c963f66afa6", True),
        ("Root=1-67891233-abcdef012345678912345678", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        (None, False),
        ("a b", False),
        ("a\n", False),
        ('a"', False),
        ("é", False),
    ],
)
def test_a_request_id_is_taken_when_a_log_may_have_it(text: Any, taken: bool) -> None:
    assert parse_request_id(text) == (text if taken else None)
